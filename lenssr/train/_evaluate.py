"""Whether weights are as good as their card says."""

from astropy.table import Table

from lenssr.networks import GENERATIVE
from lenssr.weights import load_network

from ._data import open_pairs
from ._diffusion import open_residuals, sampling_figures
from ._distributed import Processes
from ._recipe import Recipe
from ._validation import validate

__all__ = ["evaluate_weights"]


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
    if not card.recipe:
        raise ValueError(f"`weights` must have a recipe in their card, {card.name!r} has none")
    recipe = Recipe.from_dict(card.recipe, f"the recipe of {card.name!r}")
    with Processes(device) as team:
        network = network.to(team.device)
        if card.network["architecture"] in GENERATIVE:
            unseen = open_residuals(recipe, validation=True, progress=progress)
            found = sampling_figures(network, unseen, team.device)
        else:
            unseen = open_pairs(recipe, validation=True, progress=progress)
            found = validate(network, unseen, team.device)
    said = [card.figures.get(name, float("nan")) for name in found]
    table = Table({"figure": list(found), "card": said, "found": list(found.values())})
    table["difference"] = table["found"] - table["card"]
    for name in table.colnames[1:]:
        table[name].info.format = ".4f"
    return table
