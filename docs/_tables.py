"""Rows of the documentation's tables of what the package holds: nothing in them is typed."""

import numpy as np

from lenssr import list_methods
from lenssr.weights import find_weights, load_network, read_card, shipped_weights

__all__ = ["classifier_rows", "method_rows", "weight_rows"]

COMMON = ("architecture", "channels", "scale", "conditions", "collapsed", "base_sha256",
          "ranges", "classes")  # no sizes
SHOWN = {"hr": "sharp images", "lr": "observed images", "sr": "images restored by ``{weights}``"}


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


def classifier_rows(*names):
    """
    What is on the cards of classifiers, a column for each.

    Parameters
    ----------
    *names : str
        Weights.
    """
    columns = [_classifier_facts(read_card(find_weights(name))) for name in names]
    for fact in columns[0]:
        yield fact, *(column[fact] for column in columns)


def _classifier_facts(card):
    data, training, classes = card.recipe["data"], card.recipe["training"], card.classifier
    areas = ", ".join(f"{name} {card.metrics[f'auc_{name}']:.4f}" for name in classes["classes"])
    return {
        "weights": f"``{card.name}``",
        "architecture": card.network["architecture"],
        "sizes": ", ".join(_size(*item) for item in card.network.items()
                           if item[0] not in COMMON),
        "parameters": f"{card.parameters:,}",
        "trained on": f"``{data['preset']}``, {data['scenes']:,} scenes",
        "shown": SHOWN[card.recipe["inputs"]["input"]].format(**card.recipe["inputs"]),
        "steps": f"{card.steps:,} of {training['batch']} images",
        "optimiser": f"``{training['optimizer']}``",
        "hours": f"{card.hours:.2f}",
        "validation accuracy": f"{card.metrics['accuracy']:.4f}",
        "areas under the curves": areas,
        "calibration error": f"{card.metrics['calibration_error']:.4f}",
        "temperature": f"{classes['temperature']:.3f}",
        "sha256": f"``{card.sha256[:16]}``",
    }


def _known():
    """Rows of the table of methods by name."""
    return {str(row["name"]): row for row in list_methods()}


def _columns(name, gain):
    """Facts of each of the weights of a network, by what they are called."""
    cards = dict.fromkeys(shipped_weights(name).values())
    if not cards:
        return [{"weights": f"``{name}``", "sizes": "none in the package yet"}]
    return [_facts(read_card(find_weights(card)), gain) for card in cards]


def _facts(card, gain):
    data, training = card.recipe["data"], card.recipe["training"]
    facts = {
        "weights": f"``{card.name}``",
        "scales": ", ".join(map(str, card.scales)),
        "sizes": ", ".join(_size(*item) for item in card.network.items()
                           if item[0] not in COMMON),
        "parameters": f"{card.parameters:,}",
        **_cost(card.name, data["size"]),
        "trained on": f"``{data['preset']}``, {data['scenes']:,} scenes",
        "steps": f"{card.steps:,} of {training['batch']} pairs",
        "optimiser": f"``{training.get('optimizer', 'adamw')}``",
        "hours": f"{card.hours:.2f}",
        "validation PSNR": f"{card.metrics['psnr']:.2f} dB",
        **({"validation flux": f"{card.metrics['flux_ratio']:.4f}"}
           if "flux_ratio" in card.metrics else {}),
        "``SRWEIGHT``": f"``{card.sha256[:16]}``",
    }
    if 2 in card.scales and np.isfinite(gain):
        facts["gain over bilinear"] = f"{gain:.2f} dB"
    return facts


def _cost(weights, side):
    """Operations, and reach, which of networks with physics inside depends on the PSF."""
    from lenssr.evaluate import count_macs
    from lenssr.networks import find_architecture

    network, card = load_network(weights)
    facts = {"operations per input pixel": f"{count_macs(network, (side, side)) / side**2:,.0f}"}
    if find_architecture(card.network["architecture"]).inputs == "image":
        facts["reach"] = f"{network.halo} input pixels"
    return facts


def _size(key, value):
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key} {'-'.join(map(str, value)) if isinstance(value, list) else value}"
