"""Runner of the fidelity tests, and the public function `fidelity`."""

import numpy as np
from astropy.nddata import StdDevUncertainty
from tqdm import tqdm

from lenssr import superresolve
from lenssr._io import check_overwrite
from lenssr._validation import check_nonnegative_int, check_positive_int, check_positive_number
from lenssr.evaluate._benchmark import LINEAR, check_scale, method_names, weight_files
from lenssr.evaluate._fidelity._lens_tests import Einstein, Twins
from lenssr.evaluate._fidelity._photometry import Consistency, Coverage, Flux, Shift, Transfer
from lenssr.evaluate._fidelity._result import Fidelity, files, summarize_tests
from lenssr.evaluate._fidelity._scenes import FidelityPair, RestoredPair, find_scene_config
from lenssr.evaluate._fidelity._shapes import Shape
from lenssr.evaluate._fidelity._stars_and_blanks import Blank, Stars
from lenssr.evaluate._pairs import WarningSummary, find_experiment
from lenssr.image import widened_psf
from lenssr.methods import make_method


class MethodRunner:
    """Methods of a fidelity run, called through `lenssr.superresolve`."""

    def __init__(self, names, weights, scale, device=None, psf_scale_error=1.0,
                 noise_scale_error=1.0):
        self.scale, self.device = scale, device
        self.psf_scale_error, self.noise_scale_error = psf_scale_error, noise_scale_error
        self.methods, self.not_run, self.notes = {}, {}, WarningSummary()
        for name in names:
            self._enter(name, name, {})
        for label, file, card in weight_files(weights, names):
            try:
                check_scale(card, scale)
            except ValueError as err:
                self.not_run[label] = str(err)
                continue
            self._enter(self._free(label), card.network["architecture"], {"weights": file})

    def _free(self, label):
        """Return a free label for weights with another seed."""
        count = sum(known.split("#")[0] == label for known in self.methods)
        return f"{label}#{count + 1}" if count else label

    def _enter(self, label, method, options):
        try:
            made = make_method(method, self.scale, options)
        except ValueError as err:
            self.not_run[label] = str(err)
            return
        self.methods[label] = method, options, hasattr(made, "n_probes")

    def __call__(self, sample, label, errors=True):
        """Restore a pair by every method."""
        method, options, probes = self.methods[label]
        if probes and not errors:
            options = {**options, "n_probes": 1}
        per_pixel = sample.ready.span != 1
        try:
            with self.notes.collect(label, sample.number):
                result = superresolve(
                    sample.pair.lr, method, scale=self.scale, device=self.device,
                    flux="per-pixel" if per_pixel else "surface-brightness",
                    **self._told(sample), **options)
            if not np.isfinite(result.data).all():
                raise ValueError("the result has values that are not finite")
        except ValueError as err:
            del self.methods[label]
            self.not_run[label] = f"{err} (at image {sample.number})"
            return None
        return RestoredPair(sample, result)

    def _told(self, sample):
        """Return a PSF and an uncertainty with the requested scale errors."""
        conditions, lr = {"psf": sample.psf}, sample.pair.lr
        if self.psf_scale_error != 1:
            if sample.ready.plane.psf is None:
                raise ValueError("`psf_scale_error` must be 1 for pairs without a PSF, got "
                                 f"{self.psf_scale_error}")
            conditions["psf"] = widened_psf(sample.ready.plane.psf, self.psf_scale_error)
        if self.noise_scale_error != 1:
            if lr.uncertainty is None:
                raise ValueError(
                    "`noise_scale_error` must be 1 for pairs without an uncertainty, got "
                    f"{self.noise_scale_error}")
            sigma = lr.uncertainty.represent_as(StdDevUncertainty).array
            conditions["uncertainty"] = StdDevUncertainty(self.noise_scale_error * sigma)
        return conditions


_PARTS = {"flux": Flux, "shift": Shift, "shape": Shape, "transfer": Transfer,
          "coverage": Coverage, "stars": Stars, "blank": Blank, "twins": Twins,
          "einstein": Einstein, "consistency": Consistency}

PARTS = tuple(_PARTS)
"""What `fidelity` can measure."""


def fidelity(pairs="hsc-hst", methods=None, *, weights=(), parts=PARTS, n=100, seed=2, scale=None,
             psf=None, psf_scale_error=1.0, noise_scale_error=1.0, name=None, out=None,
             overwrite=False,
             device=None, progress=False):
    """
    Test the results of methods as astronomical measurements.

    Methods run through `lenssr.superresolve`. The user guide describes each test.

    Parameters
    ----------
    pairs : str, path-like or iterable of `~lenssr.simulate.LensPair`
        Published experiment or preset of ``lenssr.simulate``, folder for
        `lenssr.simulate.open_catalog`, or pairs. An iterable without length is read as far as
        necessary.
    methods : sequence of str, optional
        Names from `lenssr.list_methods`. By default ``bilinear``, ``bicubic``,
        ``richardson_lucy``, ``wiener`` and all networks with weights. ``bilinear`` is always
        included.
    weights : path-like, sequence of path-like, or dict
        Weights files of further networks, or ``{label: file}``, or ``{label: [file, ...]}``.
    parts : sequence of str
        Tests to run; all by default. On the pairs: ``"flux"``, ``"shift"``, ``"shape"``,
        ``"transfer"``, ``"coverage"`` and ``"consistency"``. On simulated scenes of the same
        telescope: ``"shape"``, ``"stars"``, ``"blank"``, ``"twins"`` and ``"einstein"``; the last
        two take longest.
    n : int
        Number of pairs, of single galaxies, and of blank images with white noise. There are
        ``n / 4`` blank images of each correlated noise, ``n / 10`` star fields, and ``n / 5`` twins
        and lenses.
    seed : int
        Seed of all random numbers.
    scale : int, optional
        Output pixels per input pixel: 2 for a series, otherwise the scale of the pairs.
    psf : object, optional
        PSF of the inputs, in any form of `lenssr.superresolve`, in place of their PSFs.
    psf_scale_error, noise_scale_error : float
        Factors of the PSF width and of the noise that methods get. With 1.1 and 0.9, the PSF is
        10 % too wide and the noise 10 % too low.
    name : str, optional
        Name of the files; the name of the experiment or the folder by default.
    out : path-like, optional
        Output folder of `Fidelity.write`.
    overwrite : bool
        Whether to replace existing files.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    result : `Fidelity`
        Result with a table for each test; its text is a report.

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

    Examples
    --------
    >>> from lenssr.evaluate import fidelity
    >>> from lenssr.simulate import simulate_pair
    >>> pairs = [simulate_pair(size=32, index=index) for index in range(2)]
    >>> result = fidelity(pairs, ["bilinear"], parts=["flux"])
    >>> list(result.tables)
    ['summary', 'flux']
    """
    n, seed = check_positive_int("n", n), check_nonnegative_int("seed", seed)
    conditions = {"psf_scale_error": psf_scale_error, "noise_scale_error": noise_scale_error}
    for argument, factor in conditions.items():
        check_positive_number(argument, factor)
    chosen = _select_tests(parts)
    names = _names(methods)
    experiment = find_experiment(pairs, n=n, seed=seed, scale=scale, name=name, training=0)
    if out is not None:
        check_overwrite([files(out, experiment.name, ())["figure"]], overwrite)
    run = _FidelityRun(MethodRunner(names, weights, experiment.scale, device, **conditions), seed,
                       progress)
    run.on_pairs(chosen, experiment, psf)
    run.on_scenes(chosen, experiment, n, psf)
    result = run.result(chosen, experiment)
    if out is not None:
        result.write(out, overwrite=overwrite)
    return result


def _select_tests(parts):
    parts = (parts,) if isinstance(parts, str) else tuple(parts)
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ValueError(f"`parts` must be some of {', '.join(PARTS)}, "
                         f"got {unknown[0] if unknown else 'none'!r}")
    return {name: part() for name, part in _PARTS.items() if name in parts}


def _names(methods):
    """Return the method names without the optimal linear filter."""
    names = method_names(methods)
    if methods is not None and LINEAR in names:
        raise ValueError(f"`methods` must be names that `lenssr methods` lists, got {LINEAR!r}")
    return [name for name in names if name != LINEAR]


class _FidelityRun:
    """Fidelity run: groups of pairs, methods, tests and their rows."""

    def __init__(self, restorer, seed, progress):
        self.restorer, self.seed, self.progress = restorer, seed, progress
        self.rows, self.count, self.n_pairs = {}, 0, 0

    def on_pairs(self, chosen, experiment, psf):
        """Measure the given pairs."""
        parts = {name: part for name, part in chosen.items() if part.uses_pairs}
        if not parts:
            return
        for pair in tqdm(experiment.test(), experiment.name, experiment.size,
                         disable=not self.progress):
            self._take([pair], parts, self.n_pairs, psf)
            self.n_pairs += 1

    def on_scenes(self, chosen, experiment, n, psf):
        """Measure the scenes of the tests."""
        parts = {name: part for name, part in chosen.items() if part.groups}
        if not parts:
            return
        try:
            site = find_scene_config(experiment, psf)
        except ValueError as err:
            self.restorer.not_run |= {f"part {name}": str(err) for name in parts}
            return
        for name, part in parts.items():
            # Each test has its own series, so that results do not depend on the
            # selection of tests.
            seed = int(np.random.SeedSequence([self.seed, PARTS.index(name)]).generate_state(1)[0])
            groups = tqdm(part.groups(site, n, seed), name, disable=not self.progress)
            for k, group in enumerate(groups):
                self._take(group, {name: part}, k)

    def _take(self, group, parts, index, psf=None):
        samples = []
        for pair in group:
            samples.append(FidelityPair(pair, index, self.count, psf))
            self.restorer.notes.add("input", samples[-1].ready.warned, self.count)
            self.count += 1
        for name, part in parts.items():
            for label, rows in part.references(samples).items():
                self._add(name, label, rows)
        errors = any(part.errors for part in parts.values())
        for label in list(self.restorer.methods):
            restored = [self.restorer(sample, label, errors) for sample in samples]
            if None in restored:
                continue
            for name, part in parts.items():
                self._add(name, label, part.measure(restored))

    def _add(self, name, label, rows):
        self.rows.setdefault(name, {}).setdefault(label, []).extend(rows)

    def result(self, chosen, experiment):
        """Return the `Fidelity` result."""
        labels, tables = list(self.restorer.methods), {}
        dropped = set(self.restorer.not_run)
        for name, part in chosen.items():
            rows = {label: rows_by_label for label, rows_by_label in self.rows.get(name, {}).items()
                    if label not in dropped}
            if rows:
                tables |= part.tables(rows, np.random.default_rng(self.seed))
        tables = {"summary": summarize_tests(tables, labels), **tables}
        meta = self._meta(experiment)
        for name, table in tables.items():
            table.meta = {"fidelity": name, **meta}
        return Fidelity(experiment.name, tables, meta)

    def _meta(self, experiment):
        import astropy
        import photutils
        import torch

        from lenssr import __version__

        return {
            "source": experiment.source, "preset": experiment.preset, "seed": self.seed,
            "psf_scale_error": self.restorer.psf_scale_error,
            "noise_scale_error": self.restorer.noise_scale_error,
            "n": self.n_pairs, "images": self.count, "scale": experiment.scale,
            "not_run": dict(self.restorer.not_run),
            "notes": self.restorer.notes.messages(self.count),
            "versions": {"lenssr": __version__, "astropy": astropy.__version__,
                         "numpy": np.__version__, "photutils": photutils.__version__,
                         "torch": str(torch.__version__)}}
