"""Rows of the documentation's tables of what the package holds: nothing in them is typed."""

from importlib import resources

import numpy as np

from lenssr import list_methods
from lenssr.weights import find_weights, read_card

__all__ = ["method_rows", "weight_rows"]

COMMON = ("architecture", "channels", "scale", "conditions", "collapsed")  # no sizes


def method_rows(*names):
    """
    What `lenssr.list_methods` says, a row for each method.

    Parameters
    ----------
    *names : str
        Methods; all that there are by default. Each has a section with the label
        ``method-NAME``.
    """
    known = _known()
    yield "method", "family", "scales", "parameters", "trained on", "gain over bilinear / dB"
    for name in names or known:
        row = known[name]
        gain = f"{row['gain']:.2f}" if np.isfinite(row["gain"]) else "not measured"
        yield (f":ref:`{name} <method-{name}>`", row["family"], row["scales"],
               f"{row['parameters']:,}" if row["parameters"] else "",
               f"``{row['trained_on']}``" if row["trained_on"] else "", gain)


def weight_rows(*names):
    """
    What is on the cards of the shipped weights, a column for each file.

    Parameters
    ----------
    *names : str
        Networks. One without weights has a column that says so.
    """
    known = _known()
    columns = [column for name in names for column in _columns(name, known[name]["gain"])]
    facts = {fact: None for column in columns for fact in column}
    for fact in facts:
        yield fact, *(column.get(fact, "") for column in columns)


def _known():
    """Rows of the table of methods by name."""
    return {str(row["name"]): row for row in list_methods()}


def _columns(name, gain):
    """Facts of each of the weights of a network, by what they are called."""
    folder = resources.files("lenssr.weights")
    cards = sorted(path.name.removesuffix(".json") for path in folder.iterdir()
                   if path.name.startswith(f"{name}-x") and path.name.endswith(".json"))
    if not cards:
        return [{"weights": f"``{name}``", "sizes": "none in the package yet"}]
    return [_facts(read_card(find_weights(card)), gain) for card in cards]


def _facts(card, gain):
    from lenssr.evaluate import count_macs
    from lenssr.weights import load_network

    network, _ = load_network(card.name)
    data, training = card.recipe["data"], card.recipe["training"]
    side = data["size"]
    facts = {
        "weights": f"``{card.name}``",
        "sizes": ", ".join(_size(*item) for item in card.network.items()
                           if item[0] not in COMMON),
        "parameters": f"{card.parameters:,}",
        "operations per input pixel": f"{count_macs(network, (side, side)) / side**2:,.0f}",
        "reach": f"{network.halo} input pixels",
        "trained on": f"``{data['preset']}``, {data['scenes']:,} scenes",
        "steps": f"{card.steps:,} of {training['batch']} pairs",
        "hours": f"{card.hours:.2f}",
        "validation PSNR": f"{card.figures['psnr']:.2f} dB",
        "validation flux": f"{card.figures['flux_ratio']:.4f}",
        "``SRWEIGHT``": f"``{card.sha256[:16]}``",
    }
    if card.network["scale"] == 2 and np.isfinite(gain):
        facts["gain over bilinear"] = f"{gain:.2f} dB"
    return facts


def _size(key, value):
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key} {'-'.join(map(str, value)) if isinstance(value, list) else value}"
