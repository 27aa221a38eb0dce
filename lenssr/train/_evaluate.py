"""Whether weights are as good as their card says."""

from astropy.table import Table

from lenssr.weights import load_network

from ._distributed import Processes
from ._loop import trainer_class
from ._recipe import Recipe

__all__ = ["compared", "evaluate_weights", "recipe_of"]


def evaluate_weights(weights, *, device=None, progress=True):
    """
    Measure the figures of a card again, on the validation set of its recipe.

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
    figures : `~astropy.table.Table`
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
    recipe = recipe_of(card, Recipe)
    with Processes(device) as team:
        trainer = trainer_class(recipe)
        unseen = trainer.open_pairs(recipe, validation=True, progress=progress)
        found = trainer.measure(network.to(team.device), unseen, team.device)
    return compared(card, found)


def recipe_of(card, kind):
    """The recipe of a card, of a class of recipes; `ValueError` if it has none."""
    if not card.recipe:
        raise ValueError(f"`weights` must have a recipe in their card, {card.name!r} has none")
    return kind.from_dict(card.recipe, f"the recipe of {card.name!r}")


def compared(card, found):
    """Table of what was found, a dictionary of figures, beside what a card says."""
    said = [card.figures.get(name, float("nan")) for name in found]
    table = Table({"figure": list(found), "card": said, "found": list(found.values())})
    table["difference"] = table["found"] - table["card"]
    for name in table.colnames[1:]:
        table[name].info.format = ".4f"
    return table
