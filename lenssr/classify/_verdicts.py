"""What classifiers make of the same lenses seen in different ways, as tables."""

import numpy as np
from astropy.table import Table

from lenssr.classify._scores import auc, bootstrap, confusion, one_vs_rest, roc
from lenssr.classify._temperature import calibration_error

__all__ = ["FALSE", "confusion_table", "crossed_thresholds", "roc_table", "scores_table",
           "smooth_threshold"]

FALSE = 0.05    # share of smooth lenses, seen sharp, that may be taken for others
CURVE = np.linspace(0, 1, 101)
BINS = {"below_50": (0, 50), "50_to_100": (50, 100), "above_100": (100, np.inf)}
"""Of the peak of an observed image over its noise, by what accuracies in them are called."""


def scores_table(verdicts, labels, classes, far, snr, seed=0):
    """Accuracy, areas under the curves with their intervals, calibration, and warnings."""
    rows = []
    for (classifier, way), chances in verdicts.items():
        said = chances.argmax(axis=1)
        row = {"classifier": classifier, "images": way, "n": len(labels),
               "accuracy": float(np.mean(said == labels))}
        row["accuracy_low"], row["accuracy_high"] = bootstrap(
            lambda true, found: np.mean(true == found), labels, said, seed=seed)
        for name, (low, high) in BINS.items():
            some = (snr >= low) & (snr < high)
            right = (said == labels)[some]
            row[f"accuracy_{name}"] = float(right.mean()) if some.any() else np.nan
        for k, name in enumerate(classes):
            row[f"auc_{name}"] = auc(chances[:, k], one_vs_rest(labels, k))
            row[f"auc_{name}_low"], row[f"auc_{name}_high"] = bootstrap(
                lambda true, score, k=k: auc(score, true == k), labels, chances[:, k], seed=seed)
        row["calibration_error"] = calibration_error(chances, labels)
        row["out_of_domain"] = float(np.mean(far[classifier, way] > 1))
        rows.append(row)
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".4f"
    return table


def smooth_threshold(chances, share=FALSE):
    """The threshold that a share of smooth lenses exceeds."""
    return float(np.quantile(chances, 1 - share))


def crossed_thresholds(chances, share=FALSE):
    """That threshold for each lens, by lenses that it is not one of: every other one's by the rest."""
    found = np.empty(len(chances))
    for half in (0, 1):
        found[half::2] = smooth_threshold(chances[1 - half::2], share)
    return found


def confusion_table(verdicts, labels, classes):
    """Confusion matrices: a row for each classifier, way and true class, shares in columns."""
    rows = []
    for (classifier, way), chances in verdicts.items():
        matrix = confusion(labels, chances.argmax(axis=1), len(classes))
        for name, line in zip(classes, matrix):
            rows.append({"classifier": classifier, "images": way, "true": name,
                         **{f"said_{other}": int(c) for other, c in zip(classes, line)}})
    return Table(rows)


def roc_table(verdicts, labels, classes):
    """Curves one against the rest: the share found at a hundred shares of false ones."""
    columns = {"false_positive": CURVE}
    for (classifier, way), chances in verdicts.items():
        for k, name in enumerate(classes):
            false, found, _ = roc(chances[:, k], one_vs_rest(labels, k))
            columns[f"{classifier} | {way} | {name}"] = np.interp(CURVE, false, found)
    table = Table(columns)
    for name in table.colnames:
        table[name].info.format = ".4f"
    return table
