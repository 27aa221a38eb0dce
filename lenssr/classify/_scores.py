"""Scores and tables of classifiers, and the result of the dark-matter experiment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from lenssr._io import check_overwrite, write_tables_and_figure
from lenssr.classify._classify import calibration_error
from lenssr.evaluate import add_subhalo
from lenssr.simulate import SceneSeries, draw_model, find_preset

N_RESAMPLES = 1000  # bootstrap samples
CONFIDENCE_LEVEL = 0.95  # of the bootstrap intervals


def one_vs_rest(labels, k):
    """Return a mask of the images of class number ``k``."""
    return np.asarray(labels) == k


def roc(score, positive):
    """Compute the receiver operating characteristic."""
    order = np.argsort(-score, kind="stable")
    score, positive = np.asarray(score)[order], np.asarray(positive)[order]
    last = np.append(np.diff(score) != 0, True)  # one point for tied scores
    true_positives, false = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    return (np.insert(false / max(false[-1], 1), 0, 0.0),
            np.insert(true_positives / max(true_positives[-1], 1), 0, 0.0),
            np.insert(score[last], 0, np.inf))


def auc(score, positive):
    """
    Compute the area under the ROC curve.

    The area follows from the ranks (Hanley & McNeil 1982,
    doi:10.1148/radiology.143.1.7063747); ties count half. It is NaN if one class is empty.
    """
    from scipy.stats import rankdata

    positive = np.asarray(positive)
    n, m = positive.sum(), (~positive).sum()
    if not (n and m):
        return np.nan
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def confusion(labels, predicted, classes):
    """Compute the confusion matrix, rows for true and columns for predicted classes."""
    return np.bincount(np.asarray(labels) * classes + predicted,
                       minlength=classes**2).reshape(classes, classes)


def bootstrap(figure, labels, *arrays, seed=0, resamples=N_RESAMPLES, level=CONFIDENCE_LEVEL):
    """Compute the confidence interval of a metric by a stratified bootstrap."""
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    class_members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    values = []
    for _ in range(resamples):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in class_members])
        values.append(figure(labels[chosen], *(array[chosen] for array in arrays)))
    return tuple(float(v) for v in np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]))


FALSE_POSITIVE_RATE = 0.05  # of smooth lenses in sharp images
ROC_GRID = np.linspace(0, 1, 101)
PEAK_SNR_BINS = {"below_50": (0, 50), "50_to_100": (50, 100), "above_100": (100, np.inf)}
"""Bins of the peak signal-to-noise ratio of the observed image."""


def scores_table(verdicts, labels, classes, distances, snr, seed=0):
    """
    Tabulate accuracy, areas under the ROC curves with intervals, calibration error and
    warnings.
    """
    rows = []
    for (classifier, restoration), probabilities in verdicts.items():
        predicted = probabilities.argmax(axis=1)
        row = {"classifier": classifier, "images": restoration, "n": len(labels),
               "accuracy": float(np.mean(predicted == labels))}
        row["accuracy_low"], row["accuracy_high"] = bootstrap(
            lambda true, guess: np.mean(true == guess), labels, predicted, seed=seed)
        for name, (low, high) in PEAK_SNR_BINS.items():
            some = (snr >= low) & (snr < high)
            right = (predicted == labels)[some]
            row[f"accuracy_{name}"] = float(right.mean()) if some.any() else np.nan
        for k, name in enumerate(classes):
            row[f"auc_{name}"] = auc(probabilities[:, k], one_vs_rest(labels, k))
            row[f"auc_{name}_low"], row[f"auc_{name}_high"] = bootstrap(
                lambda true, score, k=k: auc(score, true == k), labels, probabilities[:, k],
                seed=seed)
        row["calibration_error"] = calibration_error(probabilities, labels)
        row["out_of_domain"] = float(np.mean(distances[classifier, restoration] > 1))
        rows.append(row)
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".4f"
    return table


def detection_threshold(probabilities, false_positive_rate=FALSE_POSITIVE_RATE):
    """Return the score that a fraction of the smooth lenses exceeds."""
    return float(np.quantile(probabilities, 1 - false_positive_rate))


def exceeds_threshold(probabilities, false_positive_rate=FALSE_POSITIVE_RATE):
    """Return which lenses exceed the threshold set by all other lenses."""
    exceeds = np.empty(len(probabilities))
    for half in (0, 1):
        exceeds[half::2] = detection_threshold(probabilities[1 - half::2], false_positive_rate)
    return exceeds


def confusion_table(verdicts, labels, classes):
    """Tabulate confusion matrices, a row for each classifier, restoration and true class."""
    rows = []
    for (classifier, restoration), probabilities in verdicts.items():
        matrix = confusion(labels, probabilities.argmax(axis=1), len(classes))
        for name, line in zip(classes, matrix):
            rows.append({"classifier": classifier, "images": restoration, "true": name,
                         **{f"said_{class_name}": int(c) for class_name, c in zip(classes, line)}})
    return Table(rows)


def roc_table(verdicts, labels, classes):
    """Tabulate one-vs-rest ROC curves at 101 false-positive rates."""
    columns = {"false_positive": ROC_GRID}
    for (classifier, restoration), probabilities in verdicts.items():
        for k, name in enumerate(classes):
            false, true_positive_rate, _ = roc(probabilities[:, k], one_vs_rest(labels, k))
            columns[f"{classifier} | {restoration} | {name}"] = np.interp(ROC_GRID, false,
                                                                          true_positive_rate)
    table = Table(columns)
    for name in table.colnames:
        table[name].info.format = ".4f"
    return table


TABLE_SUFFIXES = {"scores": "scores", "confusion": "confusion", "curves": "roc",
                  "subhalos": "subhalos"}
PRINTED_COLUMNS = ("accuracy", "accuracy_low", "accuracy_high", "calibration_error",
                   "out_of_domain")
LINE_STYLES = {"HR": "-", "bilinear": ":", "RCAN of all": "--", "RCAN of cdm": "-."}
"""Line styles of the restorations whose curves are drawn."""


def file_names(preset):
    """Return the names of the files that `DarkMatter.write` writes, the figure last."""
    name = f"dark-matter-{preset}".replace("-classification", "")
    return [*(f"{name}-{part}.ecsv" for part in TABLE_SUFFIXES.values()), f"{name}.png"]


@dataclass
class DarkMatter:
    """
    Result of `dark_matter`. Its text is the tables.

    Parameters
    ----------
    scores : `~astropy.table.Table`
        For each classifier and kind of image: accuracy (all images, and by peak signal-to-noise
        ratio of the observed image), areas under the ROC curves, 95 % intervals, calibration
        error, and the fraction of images out of domain.
    confusion : `~astropy.table.Table`
        Confusion matrices.
    curves : `~astropy.table.Table`
        One-vs-rest receiver operating characteristics.
    subhalos : `~astropy.table.Table`
        False-positive rate on smooth lenses, and completeness of subhalos by mass.

    Examples
    --------
    >>> from lenssr.classify import DarkMatter, dark_matter
    >>> result = dark_matter("dark-matter", n=300, effort=0.1)  # doctest: +SKIP
    >>> isinstance(result, DarkMatter)  # doctest: +SKIP
    True
    """

    scores: Table
    confusion: Table
    curves: Table
    subhalos: Table

    def __str__(self):
        short = self.scores[["classifier", "images", *PRINTED_COLUMNS[:3], *(
            name for name in self.scores.colnames if name.startswith("auc_")
            and not name.endswith(("_low", "_high"))), *PRINTED_COLUMNS[3:]]]
        parts = (("Classes told apart", short), ("Subhalos", self.subhalos),
                 ("What was said", self.confusion))
        return "\n\n".join("\n".join([title, *table.pformat(max_lines=-1, max_width=-1)])
                           for title, table in parts)

    def figure(self):
        """
        Draw ROC curves of smooth lenses, and accuracies with their intervals.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
            The figure.
        """
        from matplotlib.figure import Figure

        names = [f"{row['classifier']} on {row['images']}" for row in self.scores]
        figure = Figure(figsize=(14, max(5, 0.16 * len(names))), layout="constrained")
        left_axis, right = figure.subplots(1, 2)
        y = np.arange(len(names))[::-1]
        value = np.array(self.scores["accuracy"])
        error = np.abs([value - self.scores["accuracy_low"],
                        self.scores["accuracy_high"] - value])
        left_axis.errorbar(value, y, xerr=error, fmt="o", ms=4)
        left_axis.axvline(1 / 3, color="0.6", ls=":")
        left_axis.set_yticks(y, names, fontsize=7)
        left_axis.set_xlabel("accuracy")
        colours = {}
        for name in self.curves.colnames[1:]:
            classifier, restoration, kind = name.split(" | ")
            if kind == "no_sub" and restoration in LINE_STYLES:
                right.plot(self.curves["false_positive"], self.curves[name],
                           ls=LINE_STYLES[restoration],
                           color=colours.setdefault(classifier, f"C{len(colours)}"),
                           label=f"{classifier} on {restoration}")
        right.set_xlabel("false positives")
        right.set_ylabel("smooth lenses found")
        right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    def write(self, folder, *, overwrite=False):
        """
        Write the tables and the figure.

        Parameters
        ----------
        folder : path-like
            Output folder; created if necessary.
        overwrite : bool
            Whether to replace existing files.

        Raises
        ------
        OSError
            If a file exists and ``overwrite`` is false.
        """
        paths = [Path(folder) / name for name in file_names(self.scores.meta["preset"])]
        check_overwrite(paths, overwrite)
        write_tables_and_figure({path: getattr(self, part)
                                 for part, path in zip(TABLE_SUFFIXES, paths)},
                                self.figure(), paths[-1])


SUBHALO_MASSES = (1e7, 1e8, 1e9, 1e10)  # solar masses
"""Solar masses of the subhalos."""


def twin_series(preset, n, seed):
    """Return series of the same smooth lenses, with a subhalo of each mass on the brightest arc."""
    preset_found = find_preset(preset)
    smooth = [draw_model(preset_found.population, seed, i) for i in range(n)]
    return {mass: SceneSeries([add_subhalo(scene, mass) for scene in smooth],
                              preset_found.instrument,
                              preset_found.size, seed=seed) for mass in SUBHALO_MASSES}


def subhalo_table(smooth, twins, trained_on, seed=0):
    """Tabulate completeness and false-positive rate of subhalo detections."""
    rows = []
    thresholds = {name: detection_threshold(smooth[name, restoration])
                  for name, restoration in trained_on.items()}
    crossed = {name: exceeds_threshold(smooth[name, restoration])
               for name, restoration in trained_on.items()}
    detected = smooth["HR", "HR"] > crossed["HR"]
    same = np.zeros(len(detected), int)
    for (classifier, restoration), probabilities in smooth.items():
        cut, false = thresholds[classifier], probabilities > crossed[classifier]
        row = {"classifier": classifier, "images": restoration, "n": len(false), "threshold": cut,
               "false_positive": float(false.mean()), "ratio": _ratio(same, false, detected)}
        row["ratio_low"], row["ratio_high"] = bootstrap(_ratio, same, false, detected, seed=seed)
        row |= {f"found_1e{np.log10(mass):.0f}": float(
            np.mean(probabilities_by_pair[classifier, restoration] > cut))
            for mass, probabilities_by_pair in twins.items()}
        rows.append(row)
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".3f"
    return table


def _ratio(_, false, detected):
    return false.mean() / detected.mean() if detected.any() else np.nan
