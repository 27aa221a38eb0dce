"""Figures of the card of a classifier, measured again."""

from lenssr.classify._judge import open_judge
from lenssr.classify._looks import Labels, Viewer
from lenssr.classify._recipe import ClassifierRecipe
from lenssr.classify._train import figures_in_use, figures_seen_once, look
from lenssr.train import Distributed, compare_card, open_pairs, recipe_from_card

__all__ = ["evaluate_classifier"]


def evaluate_classifier(weights, *, device=None, progress=True):
    """
    Measure the figures of the card of a classifier again, on the validation set of its recipe.

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
        As `lenssr.train.evaluate_weights` gives them: accuracy, cross-entropy, areas under the
        curves, and calibration error.

    Raises
    ------
    ValueError
        If the weights are damaged, are no classifier, or their card has no recipe.
    FileNotFoundError
        If there are no such weights.
    """
    with Distributed(device) as team:
        judge = open_judge(weights, team.device)
        recipe = recipe_from_card(judge.card, ClassifierRecipe)
        viewer = Viewer(recipe.looks, team.device)
        unseen = open_pairs(recipe.pairs(viewer.sizes), True, progress)
        labels = Labels(judge.classes, recipe.data.catalog)
        found = figures_seen_once(judge.network, unseen, viewer, labels)
        logits, true, _ = look(judge.network, unseen, viewer, labels)
    return compare_card(judge.card, {
        **found, **figures_in_use(logits, true, judge.card.classifier["temperature"])})
