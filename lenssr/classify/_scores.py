"""How well classes are told apart: curves, areas, confusion, and how sure these are."""

import numpy as np

__all__ = ["auc", "bootstrap", "confusion", "one_vs_rest", "roc"]

RESAMPLES = 1000
LEVEL = 0.95


def one_vs_rest(labels, k):
    """Which images are of class number ``k``."""
    return np.asarray(labels) == k


def roc(score, positive):
    """Receiver operating characteristic: the share of positives found against that of false ones."""
    order = np.argsort(-score, kind="stable")
    score, positive = np.asarray(score)[order], np.asarray(positive)[order]
    last = np.append(np.diff(score) != 0, True)  # one point for all of the same score
    found, false = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    return (np.insert(false / max(false[-1], 1), 0, 0.0),
            np.insert(found / max(found[-1], 1), 0, 0.0), np.insert(score[last], 0, np.inf))


def auc(score, positive):
    """
    Area under `roc`: the chance that a positive has a higher score than one that is not.

    From the ranks (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747); equal scores
    count half. NaN if there are none of one kind.
    """
    from scipy.stats import rankdata

    positive = np.asarray(positive)
    n, m = positive.sum(), (~positive).sum()
    if not (n and m):
        return np.nan
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def confusion(labels, said, classes):
    """Confusion matrix."""
    return np.bincount(np.asarray(labels) * classes + said,
                       minlength=classes**2).reshape(classes, classes)


def bootstrap(figure, labels, *arrays, seed=0, resamples=RESAMPLES, level=LEVEL):
    """Interval of a figure, by drawing the images again with replacement."""
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    places = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    values = []
    for _ in range(resamples):
        chosen = np.concatenate([rng.choice(each, len(each)) for each in places])
        values.append(figure(labels[chosen], *(array[chosen] for array in arrays)))
    return tuple(float(v) for v in np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]))
