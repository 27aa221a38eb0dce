"""
Run by peers.py in STARRED's own environment: STARRED on each image of a folder.

    python starred_worker.py FOLDER ITERATIONS [START]

Of each ``NAME.npz`` there, with ``data`` and ``sigma`` (square) and the narrow ``psf``, it writes
``NAME.starred.npz``, unless it is there: ``image``, flux per pixel with two pixels to one of the
data, and ``chi2``, that of the data. Several may work on one folder, begun with a number each that
says where.

The weights of the starlet regularisation and of positivity are the defaults of STARRED's
`multi_steps_deconvolution`, and so is the noise by 500 realisations that scales them. There are no
point sources, so that its sequence of fits has one step: AdaBelief at the learning rate of the
script that comes with STARRED, on images divided by a hundredth of their peak, as there. The 500
iterations of that script leave an image that begins as zero far from the data.
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
OPTIMIZER = {"init_learning_rate": 5e-2, "progress_bar": False}


def deconvolve(data, sigma, psf, iterations):
    """The image at STARRED's resolution, a Gaussian of FWHM two output pixels, and its chi2."""
    import matplotlib.pyplot as plt

    norm = data.max() / 100
    data, variance, psf = data[None] / norm, sigma[None] ** 2 / norm**2, psf[None]
    model, start, up, down, fixed = setup_model(data, variance, psf, [], [], SUBSAMPLING,
                                                initial_a=np.zeros(0))
    parameters = ParametersDeconv(start, fixed, kwargs_up=up, kwargs_down=down)
    with contextlib.redirect_stdout(io.StringIO()):
        model, _, loss, partial, *_ = multi_steps_deconvolution(
            data, model, parameters, variance, psf, SUBSAMPLING, fitting_sequence=[[]],
            optim_list=["adabelief"], verbose=False,
            kwargs_optim_list=[{"max_iterations": iterations, **OPTIMIZER}])
    plt.close("all")
    image, _ = model.getDeconvolved(partial[-1], 0)
    return np.asarray(image, dtype=float) * norm, float(loss.reduced_chi2(partial[-1]))


def main():
    warnings.simplefilter("ignore")
    paths = sorted(path for path in Path(sys.argv[1]).glob("*.npz")
                   if not path.stem.endswith(".starred"))
    iterations, start = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    for path in paths[start:] + paths[:start]:
        made = path.with_suffix(".starred.npz")
        if not made.exists():
            with np.load(path) as given:
                image, chi2 = deconvolve(given["data"], given["sigma"], given["psf"], iterations)
            beside = made.with_suffix(".part")
            with beside.open("wb") as file:
                np.savez(file, image=image, chi2=chi2)
            beside.rename(made)
        print(path.stem, flush=True)


if __name__ == "__main__":
    main()
