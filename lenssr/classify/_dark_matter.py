"""The experiment: does super-resolution help to tell what dark matter is, or does it invent it?"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from lenssr._io import atomic_write, check_overwrite
from lenssr._validation import check_nonnegative_int, check_positive_int, check_positive_number
from lenssr.classify._judge import open_judge
from lenssr.classify._outcome import DarkMatter, file_names
from lenssr.classify._plan import CLASSES, RESTORERS, TESTED, Plan
from lenssr.classify._sights import MOVED, Sights, way_of_method, way_of_weights
from lenssr.classify._subhalos import subhalo_table, twin_series
from lenssr.classify._verdicts import confusion_table, roc_table, scores_table
from lenssr.simulate import PairSeries, find_preset
from lenssr.weights import find_weights, read_card, shipped_weights

__all__ = ["dark_matter"]

PIECE = 50  # pairs that are restored, and kept, together
METHODS = ("bilinear", "richardson_lucy", "wiener", "unrolled")
CONSISTENT = ("RCAN of cdm", "RCAN of no_sub")
MATCHED = "classification"
OTHERS = {"unmatched": "classification-unmatched", "physical": "classification-physical"}
"""What the experiment on that preset is compared with."""
CLASSIFIERS = {"HR": ("hr",), "HR with noise": ("hr", None, 0.03), "LR": ("lr",),
               "SR": ("sr", "all"), "SR of cdm": ("sr", "cdm"),
               "LR, unmatched": ("lr", None, 0.0, OTHERS["unmatched"]),
               "HR, physical": ("hr", None, 0.0, OTHERS["physical"])}
OWN = {"LR": ("bilinear", "bilinear, unmatched"),
       "SR": (*(f"RCAN of {name}" for name in RESTORERS), f"RCAN of cdm{MOVED}", "unrolled", "HR"),
       "SR of cdm": ("RCAN of cdm",), "LR, unmatched": ("bilinear", "bilinear, unmatched"),
       "HR, physical": ("HR", "HR, physical")}
"""What else than all ways a classifier is shown, what it was trained on first."""


def dark_matter(out, *, runs=None, n=1800, n_twins=150, preset="classification", seed=TESTED,
                classifiers=tuple(CLASSIFIERS), restorers=tuple(RESTORERS),
                effort=1.0, device=None, overwrite=False, progress=False):
    """
    Train classifiers and networks that restore, and test them on lenses that none has seen.

    Classifiers are trained on sharp images, on observed ones, and on restored ones; the networks
    that restore on all classes of dark matter, on one alone, and on random fields of mass. What
    is trained or restored already is not made again: a run that was stopped goes on.

    Parameters
    ----------
    out : path-like
        Folder for the tables and the figure.
    runs : path-like, optional
        Folder of the trainings, and of what was restored; ``runs`` in ``out`` by default.
    n : int
        Pairs that are tested, of the classes in turn.
    n_twins : int
        Smooth lenses that are given a subhalo.
    preset : str
        Whose pairs these are.
    seed : int
        Seed of the pairs that are tested.
    classifiers, restorers : sequence of str
        Which are trained; ``"HR"`` always is, and those whose images are not made never are.
    effort : float
        Share of the steps that trainings take, for a trial.
    device : str, optional
        Torch device.
    overwrite : bool
        Replace tables that are there.
    progress : bool
        Show progress bars.

    Returns
    -------
    result : `DarkMatter`

    Raises
    ------
    ValueError
        If a number or a name is wrong.
    OSError
        If a file is there already and ``overwrite`` is false.
    """
    check_positive_int("n", n), check_positive_int("n_twins", n_twins), check_nonnegative_int("seed", seed)
    check_positive_number("effort", effort)
    find_preset(preset)
    if seed in (1, 3):
        raise ValueError(f"`seed` must be another than those of the training, 1 and 3, got {seed}")
    for name, given, known in (("classifiers", classifiers, CLASSIFIERS),
                               ("restorers", restorers, RESTORERS)):
        for each in given:
            if each not in known:
                raise ValueError(f"`{name}` must be of {', '.join(known)}, got {each!r}")
    check_overwrite([Path(out) / name for name in file_names(preset)], overwrite)
    folder = (Path(out) / "runs" if runs is None else Path(runs)) / preset
    plan = Plan(folder, preset, effort=effort, device=device, progress=progress)
    # What it takes first, and what it is tried on then.
    sights, marks = _sights(plan, restorers, device)
    named = _judges(plan, classifiers, sights, device)
    series = PairSeries(preset, substructure=CLASSES, seed=seed, engine="torch")
    seen = _Seen(folder / f"images-{seed}", sights, marks, progress)
    images = seen(series, n, "pairs")
    snr = images["bilinear"].max(axis=(1, 2))  # they are in units of the noise
    verdicts, far = judged(named, images)
    labels = np.arange(n) % len(CLASSES)
    smooth = {pair: 1 - chances[labels == 0, 0] for pair, chances in verdicts.items()}
    twins = {}
    for mass, each in twin_series(preset, n_twins, seed + 1).items():
        found, _ = judged(named, seen(each, n_twins, f"twins-{mass:.0e}"))
        twins[mass] = {pair: 1 - chances[:, 0] for pair, chances in found.items()}
    own = {name: OWN.get(name, ("HR",))[0] for name in named}
    subhalos = subhalo_table(smooth, twins, own)
    if preset == MATCHED:
        for known, more in zip((verdicts, far), judged(named, _others(seen, n, seed))):
            known |= more
    result = DarkMatter(scores_table(verdicts, labels, CLASSES, far, snr),
                        confusion_table(verdicts, labels, CLASSES),
                        roc_table(verdicts, labels, CLASSES), subhalos)
    result.scores.meta = {"preset": preset, "seed": seed, "n": n, "n_twins": n_twins,
                          "effort": effort, "classifiers": {
                              name: each.card.sha256[:16] for name, each in named.items()}}
    result.write(out, overwrite=overwrite)
    return result


def _sights(plan, restorers, device):
    """All ways to see a lens, with what has to be trained for them, and marks of their weights."""
    ways = {name: way_of_method(name, device=device) for name in METHODS}
    files = {f"RCAN of {name}": plan.restorer(name) for name in restorers}
    ways |= {label: way_of_weights(file, device=device) for label, file in files.items()}
    files |= {name: find_weights(shipped_weights(name)[2]) for name in METHODS
              if shipped_weights(name)}
    marks = {label: read_card(file).sha256[:8] for label, file in files.items()}
    return Sights.with_consistent(ways, [name for name in CONSISTENT if name in ways]), marks


def _judges(plan, classifiers, sights, device):
    """Classifiers by name, that of sharp images first; those whose images there are none of go."""
    names = [name for name in CLASSIFIERS if name in classifiers or name == "HR"]
    if plan.preset != MATCHED:
        names = [name for name in names if CLASSIFIERS[name][-1] not in OTHERS.values()]
    return {name: open_judge(plan.classifier(*CLASSIFIERS[name]), device) for name in names
            if OWN.get(name, ("HR",))[0] in sights.ways}


def _others(seen, n, seed):
    """Sharp and interpolated images of the same lenses with other substructure."""
    found = {}
    for label, preset in OTHERS.items():
        series = PairSeries(preset, substructure=CLASSES, seed=seed, engine="torch")
        images = seen(series, n, label, ("HR", "bilinear"))
        found |= {f"{way}, {label}": pictures for way, pictures in images.items()}
    return found


def judged(judges, images):
    """Probabilities, and distances from what is known, by classifier and way."""
    found = {(name, way): judge(pictures) for name, judge in judges.items()
             for way, pictures in images.items() if way in OWN.get(name, images)}
    return tuple({pair: each[part] for pair, each in found.items()} for part in (0, 1))


class _Seen:
    """Images of series by all ways, kept in pieces."""

    def __init__(self, folder, sights, marks, progress):
        self.folder, self.sights, self.marks = folder, sights, marks
        self.progress = progress

    def __call__(self, series, n, name, ways=None):
        """Images by way, each ``(n, side, side)``, of the first ``n`` pairs of a series."""
        found = {way: [] for way in ways or self.sights.ways}
        for start in tqdm(range(0, n, PIECE), desc=f"restoring {name}",
                          disable=not self.progress, delay=2):
            indices = range(start, min(start + PIECE, n))
            file = f"{start:06d}-{len(indices)}.npy"
            paths = {way: self.folder / name / self._place(way) / file for way in found}
            missing = {way: self.sights.ways[way] for way, path in paths.items()
                       if not path.exists()}
            if missing:
                self._make(series.batch(indices), missing, paths)
            for way, path in paths.items():
                found[way].append(np.load(path))
        return {way: np.concatenate(parts) for way, parts in found.items()}

    def _place(self, way):
        mark = self.marks.get(way.removesuffix(MOVED))
        return way.replace(" ", "_") + (f"-{mark}" if mark else "")

    def _make(self, batch, missing, paths):
        for way, images in Sights.only(missing)(batch).items():
            path = paths[way]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as beside, open(beside, "wb") as file:
                np.save(file, images.astype(np.float32))
