"""Every method on the same pairs, compared honestly: the front door."""

import functools

import numpy as np
from tqdm import tqdm

from lenssr._validation import check_nonnegative_int, check_positive_int, check_positive_number
from lenssr.evaluate._benchmark_result import Benchmark, check_free
from lenssr.evaluate._benchmark_table import decibels, summarise
from lenssr.evaluate._entrants import LINEAR, method_names, weight_files
from lenssr.evaluate._experiments import find_experiment
from lenssr.evaluate._measure import Measurement
from lenssr.evaluate._prepare import ARC, SEEN, prepare

__all__ = ["benchmark"]


def benchmark(pairs, methods=None, *, weights=(), n=100, seed=2, scale=None, psf=None,
              assumed_snr=22.0, data_range="peak", training=200, name=None, out=None,
              overwrite=False, device=None, progress=False):
    """
    Compare methods on the same pairs.

    Parameters
    ----------
    pairs : str, path-like or iterable of `~lenssr.simulate.LensPair`
        A published experiment (``"clean"``, ``"noisy"`` or ``"observed"``), a preset of
        ``lenssr.simulate``, a folder that `lenssr.simulate.open_catalog` opens, or pairs. An
        iterable without a length is read as far as it is needed.
    methods : sequence of str, optional
        Names from `lenssr.list_methods`, and ``"optimal_linear"``, the linear filter of
        least square error. By default ``bilinear``, ``bicubic``, that filter,
        ``richardson_lucy``, ``wiener`` and every network that comes with weights;
        ``bilinear`` is always there.
    weights : path-like, sequence of them, or dict
        Further networks: files of weights, or ``{label: file}`` or ``{label: [file, ...]}``,
        where several files are one network from several seeds.
    n : int
        How many pairs are tested.
    seed : int
        Seed of the series, or of the choice from a folder.
    scale : int, optional
        Output pixels per input pixel: 2 for a series, that of the pairs otherwise.
    psf : object, optional
        PSF of the inputs, in place of their own, as `lenssr.superresolve` takes it.
    assumed_snr : float or None
        Where an input has no uncertainty, its peak over this is declared to be its noise,
        for all methods alike. None: it is estimated from the sky.
    data_range : float or "peak"
        What errors are compared with: one number for all, in the unit of the targets, or for
        each pair the peak of its truth (of its target, where that is all there is).
    training : int or sequence of `~lenssr.simulate.LensPair`
        Pairs that the linear filter learns from, none of which is tested: so many of the seed
        after this one, or of the rest of a folder, of which half is kept for it if need be; or,
        where ``pairs`` are given, those that are given here.
    name : str, optional
        What the files are called; by default as the experiment, or the folder.
    out : path-like, optional
        Folder to write to, as `Benchmark.write` does.
    overwrite : bool
        Replace files that are there.
    device : str, optional
        Torch device.
    progress : bool
        Show progress bars.

    Returns
    -------
    result : `Benchmark`
        Its text is the report; ``summary`` and ``images`` are tables.

    Raises
    ------
    ValueError
        If an argument is not what it must be; the message names it.
    FileNotFoundError
        If there is no such file of weights.
    OSError
        If a file is there already and ``overwrite`` is false.

    Notes
    -----
    A method that cannot work on such pairs is listed with its reason, and one that warns with
    its warning. Two rows are no methods: ``constant`` is the best flat image, and ``truth``
    what the truth itself scores against a target with noise, the floor.
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
        check_free(out, experiment.name, overwrite)
    ready = functools.partial(prepare, psf=psf, assumed_snr=assumed_snr, data_range=data_range)
    measured = Measurement(experiment, names, files, ready, device, progress)
    for pair in tqdm(experiment.test(), experiment.name, experiment.size, disable=not progress):
        measured.take(ready(pair))
    if not measured.n_pairs:
        raise ValueError("`pairs` must hold a pair on which there is something to see, got "
                         f"{measured.left_out} on which there is not")
    images = measured.table()
    summary = summarise(images, measured.entrants, int(np.prod(measured.shape)))
    summary.meta = _conditions(measured, images, seed, assumed_snr, data_range, device)
    result = Benchmark(experiment.name, summary, images, measured.shown)
    if out is not None:
        result.write(out, overwrite=overwrite)
    return result


def _conditions(measured, images, seed, assumed_snr, data_range, device):
    """What the figures rest on, for the report and the files."""
    import astropy
    import torch

    from lenssr import __version__

    experiment = measured.experiment
    one = images[images["method"] == images["method"][0]]
    mse, ssim = (float(np.mean(one[f"floor_{name}"])) for name in ("mse", "ssim"))
    known = np.isfinite(mse)
    peak = "target" if "truth_mse" not in images.colnames else "truth without noise"
    bright = f"{ARC:g} of its peak"
    if mse == 0 or "truth_mse" in images.colnames:
        bright += f" or {SEEN:g} times the noise of the input, whichever is less"
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
        "device": device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "not_run": dict(measured.not_run),
        "notes": measured.notes.told(measured.n_pairs),
        "versions": {"lenssr": __version__, "astropy": astropy.__version__,
                     "numpy": np.__version__, "torch": str(torch.__version__)},
    }
