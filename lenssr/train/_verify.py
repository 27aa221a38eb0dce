"""Verification of the metrics in a model card."""

from astropy.table import Table

from lenssr.train._distributed import Distributed
from lenssr.train._loop import trainer_class
from lenssr.train._recipe import Recipe
from lenssr.weights import load_network


def evaluate_weights(weights, *, device=None, progress=True):
    """
    Measure the metrics of a model card again, on the validation set of its recipe.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show the progress of rendering.

    Returns
    -------
    metrics : `~astropy.table.Table`
        A row for each metric: the value of the ``card``, the measured value, and the
        ``difference``. PSNRs are in dB.

    Raises
    ------
    ValueError
        If the weights are damaged, or their card has no recipe.
    FileNotFoundError
        If the weights do not exist.

    Examples
    --------
    The validation set takes minutes to render.

    >>> from lenssr.train import evaluate_weights
    >>> table = evaluate_weights("fast-x2")  # doctest: +SKIP
    """
    network, card = load_network(weights)
    recipe = recipe_from_card(card, Recipe)
    with Distributed(device) as distributed:
        trainer = trainer_class(recipe)
        validation_pairs = trainer.open_pairs(recipe, validation=True, progress=progress)
        metrics = trainer.measure(network.to(distributed.device), validation_pairs,
                                  distributed.device)
    return compare_card(card, metrics)


def recipe_from_card(card, kind):
    """Return the recipe of a card; raise `ValueError` without one."""
    if not card.recipe:
        raise ValueError(f"`weights` must have a recipe in their card, {card.name!r} has none")
    return kind.from_dict(card.recipe, f"the recipe of {card.name!r}")


def compare_card(card, metrics):
    """Tabulate measured metrics beside the metrics of a card."""
    card_values = [card.metrics.get(name, float("nan")) for name in metrics]
    table = Table({"metric": list(metrics), "card": card_values,
                   "measured": list(metrics.values())})
    table["difference"] = table["measured"] - table["card"]
    for name in table.colnames[1:]:
        table[name].info.format = ".4f"
    return table
