"""Verification of the metrics in a model card."""

from astropy.table import Table

from lenssr.train._distributed import Distributed
from lenssr.train._loop import trainer_class
from lenssr.train._recipe import Recipe
from lenssr.weights import load_network


def evaluate_weights(weights, *, device=None, progress=True):
    """
    Measure the metrics of a card again, on the validation set of its recipe.

    Parameters
    ----------
    weights : str or path-like
        Name of weights that come with lenssr, or a ``.safetensors`` file with its card.
    device : str, optional
        Torch device; CUDA where there is one by default.
    progress : bool
        Show how far the rendering of the validation scenes is.

    Returns
    -------
    metrics : `~astropy.table.Table`
        A row for each ``figure``: what the ``card`` says, what was ``found``, and the
        ``difference``. PSNRs in dB.

    Raises
    ------
    ValueError
        If the weights are damaged, or their card has no recipe.
    FileNotFoundError
        If there are no such weights.
    """
    network, card = load_network(weights)
    recipe = recipe_from_card(card, Recipe)
    with Distributed(device) as distributed:
        trainer = trainer_class(recipe)
        validation_pairs = trainer.open_pairs(recipe, validation=True, progress=progress)
        metrics = trainer.measure(network.to(distributed.device), validation_pairs, distributed.device)
    return compare_card(card, metrics)


def recipe_from_card(card, kind):
    """Return the recipe of a card; raise `ValueError` without one."""
    if not card.recipe:
        raise ValueError(f"`weights` must have a recipe in their card, {card.name!r} has none")
    return kind.from_dict(card.recipe, f"the recipe of {card.name!r}")


def compare_card(card, metrics):
    """Tabulate measured metrics beside the metrics of a card."""
    card_values = [card.metrics.get(name, float("nan")) for name in metrics]
    table = Table({"figure": list(metrics), "card": card_values, "found": list(metrics.values())})
    table["difference"] = table["found"] - table["card"]
    for name in table.colnames[1:]:
        table[name].info.format = ".4f"
    return table
