"""Comparison of methods on the same pairs: `benchmark` and its linear baseline."""

import functools
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.lib.stride_tricks import sliding_window_view
from tqdm import tqdm

from lenssr._validation import (
    check_nonnegative_int,
    check_positive_int,
    check_positive_number,
    resolve_device,
    suggest,
)
from lenssr.evaluate._benchmark_result import Benchmark, check_files, decibels, summarize_images
from lenssr.evaluate._metrics import count_macs, noise_floor, score_both
from lenssr.evaluate._pairs import (
    ARC_LEVEL,
    ARC_SIGMA,
    WarningSummary,
    edge_level,
    find_experiment,
    prepare_pair,
)
from lenssr.methods import RunOptions, find_method, list_methods, make_method
from lenssr.weights import find_weights, load_network, read_card


class OptimalLinearFilter:
    """
    Linear filter from input pixels to output pixels, fitted to pairs by least squares.

    Each of the ``scale**2`` output pixels of an input pixel is a weighted sum of the
    ``size`` x ``size`` input pixels around it. The weights minimise the mean squared error over
    all pairs, each divided by the peak of its truth. Only the normal equations are kept, so that
    the memory does not depend on the number of pairs.

    Parameters
    ----------
    size : int
        Side of the patch of input pixels, odd.
    scale : int
        Output pixels per input pixel.
    ridge : float
        Penalty on the squared weights, relative to the mean square of the input.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.evaluate import OptimalLinearFilter
    >>> rng = np.random.default_rng(0)
    >>> linear = OptimalLinearFilter(3, 2)
    >>> hr = rng.random((32, 32))
    >>> linear.add(hr.reshape(16, 2, 16, 2).mean((1, 3)), hr)
    >>> linear.apply(rng.random((16, 16))).shape
    (32, 32)
    """

    def __init__(self, size=15, scale=2, ridge=1e-6):
        if size != int(size) or size < 1 or size % 2 == 0:
            raise ValueError(f"`size` must be an odd positive integer, got {size!r}")
        if scale != int(scale) or scale < 1:
            raise ValueError(f"`scale` must be a positive integer, got {scale!r}")
        if not ridge >= 0:
            raise ValueError(f"`ridge` must not be negative, got {ridge!r}")
        self.size, self.scale, self.ridge = int(size), int(scale), float(ridge)
        self.n_pairs = 0
        self._normal = np.zeros((self.size**2, self.size**2))
        self._moment = np.zeros((self.size**2, self.scale**2))
        self._weights = None

    def add(self, lr, hr):
        """
        Add a training pair.

        Parameters
        ----------
        lr : `~numpy.ndarray`
            Observed image, shape ``(ny, nx)``.
        hr : `~numpy.ndarray`
            Truth, shape ``(scale * ny, scale * nx)``. A truth without a positive peak is ignored.

        Raises
        ------
        ValueError
            If the shapes do not match, or the image is smaller than half of the filter.
        """
        lr, hr = np.asarray(lr, dtype=float), np.asarray(hr, dtype=float)
        if lr.ndim != 2 or hr.shape != tuple(self.scale * n for n in lr.shape):
            raise ValueError(f"`hr` must have {self.scale} times the shape of `lr` {lr.shape}, "
                             f"got {hr.shape}")
        peak = hr.max()
        if peak <= 0:
            return
        patches = self._patches(lr / peak)
        targets = self._phases(hr / peak)
        self._normal += patches.T @ patches
        self._moment += patches.T @ targets
        self.n_pairs += 1
        self._weights = None

    @property
    def weights(self):
        """Weights, shape ``(scale, scale, size, size)``: output phase, then input pixel."""
        return self._solution().T.reshape(self.scale, self.scale, self.size, self.size)

    def _solution(self):
        """Filter weights, shape ``(size**2, scale**2)``."""
        if self._weights is None:
            if not self.n_pairs:
                raise ValueError("the filter has learnt from no pair yet: call `add` first")
            normal = self._normal.copy()
            normal[np.diag_indices_from(normal)] += self.ridge * np.trace(normal) / len(normal)
            self._weights = np.linalg.solve(normal, self._moment)
        return self._weights

    def apply(self, lr):
        """
        Restore an image, reflected at its edges.

        Parameters
        ----------
        lr : `~numpy.ndarray`
            Observed image, shape ``(ny, nx)``.

        Returns
        -------
        hr : `~numpy.ndarray`
            Restored image, shape ``(scale * ny, scale * nx)``.

        Raises
        ------
        ValueError
            If no pair was added, or the image is smaller than half of the filter.
        """
        lr = np.asarray(lr, dtype=float)
        if lr.ndim != 2:
            raise ValueError(f"`lr` must have 2 dimensions, got {lr.ndim}")
        weights, s, (ny, nx) = self._solution(), self.scale, lr.shape
        phases = self._patches(lr) @ weights
        return phases.reshape(ny, nx, s, s).transpose(0, 2, 1, 3).reshape(ny * s, nx * s)

    def _patches(self, image):
        half = self.size // 2
        if min(image.shape) < half:
            raise ValueError(f"`lr` must have at least {half} pixels along each side for a filter "
                             f"of {self.size}, got {image.shape}")
        padded = np.pad(image, half, mode="symmetric")
        return sliding_window_view(padded, (self.size, self.size)).reshape(image.size, -1)

    def _phases(self, image):
        s, (ny, nx) = self.scale, image.shape
        split = image.reshape(ny // s, s, nx // s, s).transpose(0, 2, 1, 3)
        return split.reshape(-1, s * s)


LINEAR = "optimal_linear"
BASELINES = ("bilinear", "bicubic", LINEAR, "richardson_lucy", "wiener")


@dataclass
class BenchmarkMethod:
    """Method that takes part in a benchmark."""

    label: str
    apply: object
    passes: int = 1
    parameters: float = np.nan
    macs: float = np.nan
    known: dict = field(default_factory=dict)


class LinearBaseline:
    """`OptimalLinearFilter` applied to images without their sky level."""

    def __init__(self, scale):
        self.filter = OptimalLinearFilter(scale=scale)
        self._moment = self._norm = 0.0

    def add(self, pair):
        """Add an `EvaluationPair` to the training of the filter."""
        lr, hr = pair.plane.data / pair.span, pair.target
        low, high = edge_level(lr), edge_level(hr)
        self.filter.add(lr - low, hr - high)
        self._moment, self._norm = self._moment + low * high, self._norm + low**2

    def __call__(self, pair):
        data = pair.plane.data
        level = edge_level(data)
        slope = self._moment / self._norm if self._norm else 0.0
        return self.filter.apply(data - level) + slope * level


def flat_image(pair):
    """Return the best constant image, which uses the target: the score of an empty sky."""
    return np.full(pair.target.shape, np.mean(pair.target[~pair.mask]))


def method_names(methods):
    """Return the names of the methods, bilinear interpolation first."""
    table = list_methods()
    known = [*map(str, table["name"]), LINEAR]
    if methods is None:
        networks = map(str, table["name"][table["family"] == "network"])
        methods = (*BASELINES, *(name for name in networks if find_method(name).weights))
    if isinstance(methods, str):
        methods = (methods,)
    for name in methods:
        if name not in known:
            raise ValueError(f"`methods` must be names of {', '.join(known)}, got {name!r}"
                             f"{suggest(name, known, quote=chr(39))}")
    return list(dict.fromkeys(("bilinear", *methods)))


def from_registry(name, scale, shape, device):
    """Return the `BenchmarkMethod` of a name; raise `ValueError` for an unsupported scale."""
    made = make_method(name, scale, {})
    if hasattr(made, "n_probes"):
        # One noise probe, whose error is not used.
        made = make_method(name, scale, {"n_probes": 1})
    for weights in find_method(name).weights:
        if scale in read_card(find_weights(weights)).scales:
            return _benchmark_method(name, made, scale, device, *_cost(weights, shape, scale))
    return _benchmark_method(name, made, scale, device)


def weight_files(weights, names):
    """Return weights files with unique labels."""
    if not isinstance(weights, dict):
        weights = [weights] if isinstance(weights, str | os.PathLike) else weights
        weights = {Path(file).stem: file for file in weights}
    named_files = []
    for label, files in weights.items():
        if label in names:
            raise ValueError(f"`weights` must have labels that no method has, got {label!r}")
        for file in [files] if isinstance(files, str | os.PathLike) else files:
            named_files.append((label, file, load_network(file)[1]))
    return named_files


def check_scale(card, scale):
    """Raise `ValueError` if weights do not support the scale."""
    if scale not in card.scales:
        raise ValueError(f"its weights are for the scale {' or '.join(map(str, card.scales))}, "
                         f"not {scale}")


def from_weights(label, file, card, scale, shape, device):
    """
    Return the `BenchmarkMethod` of a weights file; raise `ValueError` for an unsupported
    scale.
    """
    check_scale(card, scale)
    made = make_method(card.network["architecture"], scale, {"weights": file, "n_probes": 1})
    return _benchmark_method(label, made, scale, device, *_cost(file, shape, scale))


def _cost(weights, shape, scale):
    network, card = load_network(weights)
    return card.parameters, count_macs(network, shape, scale), card.recipe.get("data", {})


def _benchmark_method(label, method, scale, device, *cost):
    run = RunOptions(scale=scale, device=device)
    return BenchmarkMethod(label, lambda pair: method.restore(pair.plane, run).mean,
                           1 + getattr(method, "n_probes", 0), *cost)


N_FIGURE_PAIRS = 3  # pairs whose images are kept for the figure


class Measurement:
    """Methods of a benchmark, and the metrics measured so far."""

    def __init__(self, experiment, names, files, ready, device=None, progress=False):
        self.experiment, self.names, self.files = experiment, names, files
        self.ready, self.device, self.progress = ready, device, progress
        self.entrants, self.not_run, self.notes = {}, {}, WarningSummary()
        self.shown, self.left_out, self.n_pairs, self._rows = [], 0, 0, []
        self.shape = self.noise_from = None

    def take(self, pair):
        """Restore an `EvaluationPair` by every method and measure the results."""
        if pair is None:
            self.left_out += 1
            return
        if not self.n_pairs:
            self.shape, self.noise_from = pair.plane.shape, pair.noise_from
            self._enter(pair)
        self.notes.add("input", pair.warned, self.n_pairs)
        results, known = {}, noise_floor(pair)
        for label, run in list(self.entrants):
            try:
                image, seconds = self._restore(label, run, pair)
                figures = score_both(image, pair)
            except ValueError as err:
                self._drop(label, run, str(err))
                continue
            results.setdefault(label, image)
            self._add(label, run, known, figures, 1e3 * seconds)
        self._add("constant", 0, known, score_both(flat_image(pair), pair))
        if pair.truth is not None:
            self._add("truth", 0, known, {f"target_{key}": v for key, v in known.items()})
        if len(self.shown) < N_FIGURE_PAIRS:
            self.shown.append((pair, results))
        self.n_pairs += 1

    def table(self):
        """Table of the metrics, a row for each image and method."""
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
        """Make all methods once the shape and scale of the pairs are known."""
        options = pair.scale, pair.plane.shape, self.device
        for name in self.names:
            self._try(name, 0, self._fit if name == LINEAR else from_registry, name, *options)
        runs = {}
        for label, file, card in self.files:
            runs[label] = runs.get(label, -1) + 1
            self._try(label, runs[label], from_weights, label, file, card, *options)
            self._seen_before(label, card.recipe.get("data", {}))

    def _try(self, label, run, make, *args):
        try:
            self.entrants[label, run] = make(*args)
        except ValueError as err:
            self.not_run[label] = str(err)

    def _fit(self, name, scale, shape, device):
        """Fit the linear filter to the training pairs."""
        model = LinearBaseline(scale)
        spare = self.experiment.spare
        for pair in tqdm(self.experiment.training(), "fitting the linear filter", spare,
                         disable=not self.progress, delay=2):
            restored = self.ready(pair)
            if restored is not None:
                model.add(restored)
        if not model.filter.n_pairs:
            raise ValueError("there is no training pair")
        return BenchmarkMethod(name, model, parameters=float(model.filter.weights.size + 1),
                               macs=float(model.filter.weights.size * np.prod(shape)))

    def _seen_before(self, label, data):
        seed, preset = self.experiment.seed, self.experiment.preset
        seeds = data.get("seed"), data.get("validation_seed")
        if preset is not None and data.get("preset") == preset and seed in seeds:
            self.notes.add(label, [f"its training saw the series of seed {seed}: choose another"],
                           self.n_pairs)

    def _restore(self, label, run, pair):
        entrant = self.entrants[label, run]
        with self.notes.collect(label, self.n_pairs):
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


def benchmark(pairs, methods=None, *, weights=(), n=100, seed=2, scale=None, psf=None,
              assumed_snr=22.0, data_range="peak", training=200, name=None, out=None,
              overwrite=False, device=None, progress=False):
    """
    Compare methods on the same pairs.

    Parameters
    ----------
    pairs : str, path-like or iterable of `~lenssr.simulate.LensPair`
        Published experiment (``"clean"``, ``"noisy"`` or ``"observed"``), preset of
        ``lenssr.simulate``, folder for `lenssr.simulate.open_catalog`, or pairs. An iterable
        without length is read as far as necessary.
    methods : sequence of str, optional
        Names from `lenssr.list_methods`, and ``"optimal_linear"`` for the linear least-squares
        filter. By default ``bilinear``, ``bicubic``, the linear filter, ``richardson_lucy``,
        ``wiener`` and all networks with weights. ``bilinear`` is always included.
    weights : path-like, sequence of path-like, or dict
        Weights files of further networks, or ``{label: file}``, or ``{label: [file, ...]}`` for
        several seeds of one network.
    n : int
        Number of test pairs.
    seed : int
        Seed of the series, or of the selection from a folder.
    scale : int, optional
        Output pixels per input pixel: 2 for a series, otherwise the scale of the pairs.
    psf : object, optional
        PSF of the inputs, in any form of `lenssr.superresolve`, in place of their PSFs.
    assumed_snr : float or None
        Peak signal-to-noise ratio of inputs without uncertainty. `None` estimates the noise from
        the sky.
    data_range : float or "peak"
        Data range of the metrics: a number in the unit of the targets, or the peak of each truth.
    training : int or sequence of `~lenssr.simulate.LensPair`
        Training pairs of the linear filter, or the number of pairs. A number of pairs is simulated
        with the next seed or taken from the rest of the folder, and never used as test pairs. For
        given ``pairs``, pass a sequence.
    name : str, optional
        Name of the files; the name of the experiment or the folder by default.
    out : path-like, optional
        Output folder of `Benchmark.write`.
    overwrite : bool
        Whether to replace existing files.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    result : `Benchmark`
        Result with the tables ``summary`` and ``images``; its text is a report.

    Raises
    ------
    ValueError
        If an argument is invalid.
    FileNotFoundError
        If a weights file does not exist.
    OSError
        If a file exists and ``overwrite`` is false.

    Notes
    -----
    A method that cannot restore the pairs is listed with the reason, and warnings are summarised.
    The row ``constant`` is the best constant image. The row ``truth`` compares the noise-free truth
    with a noisy target: the noise floor.

    Examples
    --------
    >>> from lenssr.evaluate import benchmark
    >>> from lenssr.simulate import simulate_pair
    >>> pairs = [simulate_pair(size=24, index=index) for index in range(3)]
    >>> result = benchmark(pairs, ["bilinear", "lanczos"])
    >>> "lanczos" in result.summary["method"]
    True
    """
    n = check_positive_int("n", n)
    if not hasattr(training, "__len__"):
        training = check_nonnegative_int("training", training)
    seed = check_nonnegative_int("seed", seed)
    if assumed_snr is not None:
        assumed_snr = check_positive_number("assumed_snr", assumed_snr)
    if data_range != "peak":
        data_range = check_positive_number("data_range", data_range)
    names = method_names(methods)
    files = weight_files(weights, (*names, "constant", "truth"))
    experiment = find_experiment(pairs, n=n, seed=seed, scale=scale, name=name,
                                 training=training if LINEAR in names else 0)
    if out is not None:
        check_files(out, experiment.name, overwrite)
    ready = functools.partial(prepare_pair, psf=psf, assumed_snr=assumed_snr, data_range=data_range)
    measured = Measurement(experiment, names, files, ready, device, progress)
    for pair in tqdm(experiment.test(), experiment.name, experiment.size, disable=not progress):
        measured.take(ready(pair))
    if not measured.n_pairs:
        raise ValueError("`pairs` must hold a pair with a visible source, got "
                         f"{measured.left_out} without")
    images = measured.table()
    summary = summarize_images(images, measured.entrants, int(np.prod(measured.shape)))
    summary.meta = _conditions(measured, images, seed, assumed_snr, data_range, device)
    result = Benchmark(experiment.name, summary, images, measured.shown)
    if out is not None:
        result.write(out, overwrite=overwrite)
    return result


def _conditions(measured, images, seed, assumed_snr, data_range, device):
    """Return the conditions of a benchmark for reports and files."""
    import astropy
    import torch

    from lenssr import __version__

    experiment = measured.experiment
    first_rows = images[images["method"] == images["method"][0]]
    mse, ssim = (float(np.mean(first_rows[f"floor_{name}"])) for name in ("mse", "ssim"))
    known = np.isfinite(mse)
    peak = "target" if "truth_mse" not in images.colnames else "truth without noise"
    bright = f"{ARC_LEVEL:g} of its peak"
    if mse == 0 or "truth_mse" in images.colnames:
        bright += f" or {ARC_SIGMA:g} times the noise of the input, whichever is less"
    noise = {"pair": "as the pairs give it",
             "declared": f"the pairs give none; declared to be peak / {assumed_snr} for "
                         "all methods",
             "sky": "the pairs give none; estimated from the sky of each"}
    return {
        "source": experiment.source, "preset": experiment.preset, "seed": seed,
        "n": measured.n_pairs, "left_out": measured.left_out, "scale": experiment.scale,
        "shape": list(measured.shape),
        "data_range": f"the peak of the {peak} of each pair, which is 1 here"
                      if data_range == "peak" else f"{data_range:g} for all pairs",
        "input_noise": noise[measured.noise_from],
        "target_noise": "not known, taken for none" if not known else "none" if mse == 0
                        else f"{np.sqrt(mse):.4g} of the data range",
        "floor": {"mse": mse if known else 0.0, "ssim": ssim if np.isfinite(ssim) else None,
                  "psnr_of_mean": float(decibels(mse)) if known and mse > 0 else None},
        "arc": f"pixels above the median of the {peak} by {bright}",
        "matched": "columns of that name: the constant between result and reference, fitted by "
                   "least squares, was taken off",
        "threads": torch.get_num_threads(),
        "device": str(resolve_device(device)),
        "not_run": dict(measured.not_run),
        "notes": measured.notes.messages(measured.n_pairs),
        "versions": {"lenssr": __version__, "astropy": astropy.__version__,
                     "numpy": np.__version__, "torch": str(torch.__version__)},
    }
