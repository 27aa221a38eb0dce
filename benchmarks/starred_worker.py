"""
Run by peers.py in STARRED's own environment: STARRED on each image of a folder.

    python starred_worker.py FOLDER

Of each ``NAME.npz`` there, with ``data`` and ``sigma`` (square) and the narrow ``psf``, it writes
``NAME.starred.npy``: flux per pixel, two pixels to one of the data.

The settings are the defaults of the script for deconvolution that comes with STARRED: images
divided by a hundredth of their peak, no point sources, AdaBelief with 500 iterations at a learning
rate of 0.05, and 1 for the weights of both parts of the starlet regularisation, scaled by noise
that is carried by 500 realisations.
"""

import contextlib
import io
import sys
import warnings
from pathlib import Path

import numpy as np
from starred.deconvolution.deconvolution import setup_model
from starred.deconvolution.parameters import ParametersDeconv
from starred.procedures.deconvolution_routines import multi_steps_deconvolution

SUBSAMPLING = 2
OPTIMIZER = {"max_iterations": 500, "min_iterations": None, "init_learning_rate": 5e-2,
             "schedule_learning_rate": True, "restart_from_init": False,
             "stop_at_loss_increase": False, "progress_bar": False,
             "return_param_history": False}


def deconvolve(data, sigma, psf):
    """Flux per output pixel, at STARRED's resolution: a Gaussian of FWHM two output pixels."""
    import matplotlib.pyplot as plt

    norm = data.max() / 100
    data, variance, psf = data[None] / norm, sigma[None] ** 2 / norm**2, psf[None]
    model, start, up, down, fixed = setup_model(data, variance, psf, [], [], SUBSAMPLING,
                                                initial_a=np.zeros(0))
    parameters = ParametersDeconv(start, fixed, kwargs_up=up, kwargs_down=down)
    with contextlib.redirect_stdout(io.StringIO()):
        model, parameters, *_ = multi_steps_deconvolution(
            data, model, parameters, variance, psf, SUBSAMPLING, fitting_sequence=[[]],
            optim_list=["adabelief"], kwargs_optim_list=[OPTIMIZER], prior_list=[None],
            lambda_scales=1.0, lambda_hf=1.0, lambda_positivity_bkg=0.0,
            lambda_positivity_ps=100.0, adjust_sky=False, verbose=False)
    plt.close("all")
    found, _ = model.getDeconvolved(parameters.best_fit_values(as_kwargs=True), 0)
    return np.asarray(found, dtype=float) * norm


def main():
    warnings.simplefilter("ignore")
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        with np.load(path) as given:
            found = deconvolve(given["data"], given["sigma"], given["psf"])
        np.save(path.with_suffix(".starred.npy"), found)
        print(path.stem, flush=True)


if __name__ == "__main__":
    main()
