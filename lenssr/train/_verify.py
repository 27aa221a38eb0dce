"""Whether weights are as good as their card says."""

from astropy.table import Table

from lenssr.train._distributed import Distributed
from lenssr.train._loop import trainer_class
from lenssr.train._recipe import Recipe
from lenssr.weights import load_network


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
    recipe = recipe_from_card(card, Recipe)
    with Distributed(device) as team:
        trainer = trainer_class(recipe)
        unseen = trainer.open_pairs(recipe, validation=True, progress=progress)
        found = trainer.measure(network.to(team.device), unseen, team.device)
    return compare_card(card, found)


def recipe_from_card(card, kind):
    """The recipe of a card, of a class of recipes; `ValueError` if it has none."""
    if not card.recipe:
        raise ValueError(f"`weights` must have a recipe in their card, {card.name!r} has none")
    return kind.from_dict(card.recipe, f"the recipe of {card.name!r}")


def compare_card(card, found):
    """Table of what was found, a dictionary of figures, beside what a card says."""
    said = [card.figures.get(name, float("nan")) for name in found]
    table = Table({"figure": list(found), "card": said, "found": list(found.values())})
    table["difference"] = table["found"] - table["card"]
    for name in table.colnames[1:]:
        table[name].info.format = ".4f"
    return table
