"""Pair after pair through every method: a row of figures for each image."""

import time

import numpy as np
from astropy.table import Table
from tqdm import tqdm

from lenssr.evaluate._entrants import (
    LINEAR,
    Entrant,
    LevelledFilter,
    constant,
    from_file,
    registered,
)
from lenssr.evaluate._notes import Notes
from lenssr.evaluate._score import floor, score_both

__all__ = ["Measurement"]

SHOWN = 3  # pairs whose images are kept for the figure


class Measurement:
    """All who take part, and what was measured so far."""

    def __init__(self, experiment, names, files, ready, device=None, progress=False):
        self.experiment, self.names, self.files = experiment, names, files
        self.ready, self.device, self.progress = ready, device, progress
        self.entrants, self.not_run, self.notes = {}, {}, Notes()
        self.shown, self.left_out, self.n_pairs, self._rows = [], 0, 0, []
        self.shape = self.noise_from = None

    def take(self, pair):
        """Restore a `Prepared` pair by every method, and measure."""
        if pair is None:
            self.left_out += 1
            return
        if not self.n_pairs:
            self.shape, self.noise_from = pair.plane.shape, pair.noise_from
            self._enter(pair)
        self.notes.add("input", pair.warned, self.n_pairs)
        results, known = {}, floor(pair)
        for label, run in list(self.entrants):
            try:
                image, seconds = self._restore(label, run, pair)
                figures = score_both(image, pair)
            except ValueError as err:
                self._drop(label, run, str(err))
                continue
            results.setdefault(label, image)
            self._add(label, run, known, figures, 1e3 * seconds)
        self._add("constant", 0, known, score_both(constant(pair), pair))
        if pair.truth is not None:
            self._add("truth", 0, known, {f"target_{key}": v for key, v in known.items()})
        if len(self.shown) < SHOWN:
            self.shown.append((pair, results))
        self.n_pairs += 1

    def table(self):
        """What was measured: a row for each image, NaN where there is nothing."""
        keys = dict.fromkeys(key for row in self._rows for key in row)
        rows = sorted(self._rows, key=self._order)
        return Table({key: [row.get(key, np.nan) for row in rows] for key in keys})

    def _order(self, row):
        labels = [*dict.fromkeys(label for label, _ in self.entrants), "constant", "truth"]
        return labels.index(row["method"]), row["run"], row["pair"]

    def _add(self, label, run, known, figures, ms=np.nan):
        self._rows.append({"method": label, "run": run, "pair": self.n_pairs, **figures,
                           **{f"floor_{key}": value for key, value in known.items()}, "ms": ms})

    def _enter(self, pair):
        """Make all entrants, now that it is known on what kind of pair they work."""
        options = pair.scale, pair.plane.shape, self.device
        for name in self.names:
            self._try(name, 0, self._fit if name == LINEAR else registered, name, *options)
        runs = {}
        for label, file, card in self.files:
            runs[label] = runs.get(label, -1) + 1
            self._try(label, runs[label], from_file, label, file, card, *options)
            self._seen_before(label, card.recipe.get("data", {}))

    def _try(self, label, run, make, *args):
        try:
            self.entrants[label, run] = make(*args)
        except ValueError as err:
            self.not_run[label] = str(err)

    def _fit(self, name, scale, shape, device):
        """The linear filter, of pairs that are not tested."""
        model = LevelledFilter(scale)
        spare = self.experiment.spare
        for pair in tqdm(self.experiment.training(), "fitting the linear filter", spare,
                         disable=not self.progress, delay=2):
            found = self.ready(pair)
            if found is not None:
                model.add(found)
        if not model.filter.n_pairs:
            raise ValueError("no pair is left from which it could learn")
        return Entrant(name, model, parameters=float(model.filter.weights.size + 1),
                       macs=float(model.filter.weights.size * np.prod(shape)))

    def _seen_before(self, label, data):
        seed, preset = self.experiment.seed, self.experiment.preset
        seeds = data.get("seed"), data.get("validation_seed")
        if preset is not None and data.get("preset") == preset and seed in seeds:
            self.notes.add(label, [f"its training saw the series of seed {seed}: choose another"],
                           self.n_pairs)

    def _restore(self, label, run, pair):
        entrant = self.entrants[label, run]
        with self.notes.taken(label, self.n_pairs):
            start = time.perf_counter()
            image = entrant.apply(pair)
            seconds = time.perf_counter() - start
        return image / pair.span, seconds / entrant.passes

    def _drop(self, label, run, reason):
        del self.entrants[label, run]
        self.not_run[label] = reason + (f" (at pair {self.n_pairs})" if self.n_pairs else "")
        self._rows = [row for row in self._rows if (row["method"], row["run"]) != (label, run)]
        for _, results in self.shown:
            results.pop(label, None)
