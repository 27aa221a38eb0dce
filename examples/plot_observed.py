"""
Transfer a network to observed images
=====================================

The shipped networks are trained on simulated pairs. On the sky, galaxies are no Sersic profiles,
PSFs are no Moffat profiles, and the telescope may differ. This tutorial transfers a small network
to observed-like images, by fine-tuning with targets and by adaptation without targets, and measures
the gain on held-out pairs.
"""

# %%
# Simulate the target domain
# --------------------------
#
# Pairs of the preset ``observed-like`` have real galaxies as sources, measured PSFs, and cutouts of
# the real sky, with pixels of 0.263 arcsec, which the network was not trained on. The sky is not
# subtracted. To run this tutorial in a minute, there are 120 small pairs in place of the
# recommended 300.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from lenssr.evaluate import plot_catalog
from lenssr.simulate import simulate_catalog

folder = Path(tempfile.mkdtemp())
options = dict(preset="observed-like", engine="torch", size=32, progress=False)
observed = simulate_catalog(folder / "observed", 120, seed=1, **options)
held_out = simulate_catalog(folder / "held_out", 30, seed=2, **options)
_ = plot_catalog(held_out, 6, figure=plt.figure(layout="constrained"))

# %%
# Fine-tune with targets
# ----------------------
#
# `~lenssr.train.finetune` trains in two stages: first the upsampler alone, with fixed features,
# then all layers. A hundred steps are few, so the learning rates here are close to the rates of a
# training from scratch. By default, the second stage has a tenth of that rate and many more steps.

from lenssr.train import finetune

tuned = finetune("fast-x2", folder / "observed", folder / "tuned", steps=(30, 100),
                 learning_rates=(1e-3, 5e-4), batch=8, size=16, progress=False)

# %%
# Twelve of the pairs are used for validation. If the curve of a stage falls and does not recover,
# its learning rate is too high.

from astropy.table import Table

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
start = 0
for stage in ("upsampler", "all"):
    curve = Table.read(folder / "tuned" / stage / "curve.csv")
    axis.plot(curve["step"] + start, curve["psnr"], "o-", label=stage)
    start += curve["step"][-1]
axis.set(xlabel="step", ylabel="validation PSNR / dB")
_ = axis.legend()

# %%
# Adapt without targets
# ---------------------
#
# Most fields have no image of higher resolution. `~lenssr.train.adapt` takes the observed images
# alone. It trains the features until a discriminator cannot separate observed from simulated
# images. A restoration loss of simulated pairs, here of 250 scenes, keeps the performance on
# simulations.

from lenssr.train import adapt

adapted = adapt("fast-x2", folder / "observed", folder / "adapted", steps=40, min_steps=40, batch=4,
                size=24, scenes=250, progress=False)

# %%
# Measure the gain
# ----------------
#
# The benchmark compares restorations of the held-out pairs with the noise-free truth. The input has
# a sky pedestal, which methods preserve, and the truth has none. The columns ``matched`` of a
# benchmark therefore subtract the best-fitting constant. ``removed`` is the fraction of the error
# of bilinear interpolation that a method removes.

from lenssr.evaluate import benchmark

weights = {"tuned, first stage": folder / "tuned" / "upsampler" / tuned.name,
           "tuned": tuned, "adapted": adapted}
result = benchmark(folder / "held_out", ["richardson_lucy", "fast"], weights=weights, training=0)
score = result.summary["method", "truth_psnr_matched", "truth_psnr_arc_matched",
                       "truth_removed_matched"]
score.rename_columns(score.colnames, ["method", "PSNR", "PSNR of arcs", "removed"])
print(score)

# %%
# Fine-tuning gains more than two decibels. The original network is worse than Richardson-Lucy
# deconvolution on these images, since most of their PSFs are sharper than the PSFs of its training.
# After some hundred steps, both are equal. Adaptation gains nothing here: the network changes
# little, and stronger settings (``adversarial=0.1, learning_rate=1e-4``, three times the steps)
# lost a decibel. The two domains differ in properties that matter for the restoration, so that
# domain invariance does not improve it. Only targets reveal this: keep some.

# %%
# The figure compares the held-out lens with the sharpest PSF, after sky subtraction, with the
# noise-free truth. A warning states that the PSF is outside the range of the training: the network
# overestimates the blur and restores arcs that are too thin.

from dataclasses import replace

import numpy as np

from lenssr import superresolve
from lenssr.evaluate import comparison_figure

pair = max(held_out, key=lambda pair: (pair.lr.psf**2).sum())
pair = replace(pair, hr=pair.truth["hr"])
edge = np.concatenate([*pair.lr.data[[0, -1]], *pair.lr.data[:, [0, -1]].T])
pair.lr.data -= np.median(edge)
results = {name: superresolve(pair.lr, "fast", weights=file) for name, file in (
    ("fast", "fast-x2"), ("tuned", tuned), ("adapted", adapted))}
_ = comparison_figure(pair, results, figure=plt.figure(layout="constrained"))

# %%
# Pair two observations of a field
# --------------------------------
#
# Images of the same lenses from the ground and from space replace simulations.
# `~lenssr.simulate.pair_observations` matches the image from space to the target resolution, and to
# the grid, gain and sky level of the other image, with noise and mask. ``pair.truth`` describes
# their agreement:
#
# .. code-block:: python
#
#     from lenssr.simulate import pair_observations
#
#     pairs = [pair_observations(f"hsc/{name}.fits", f"hst/{name}.fits", scale=2,
#                                lr_psf=f"hsc/{name}.psf.fits", hr_psf="hst/psf.fits")
#              for name in lenses]           # stamps of one size
#     pairs = [pair for pair in pairs if pair.truth["chi2"] < 1.5]
#     weights = finetune("fast-x2", pairs, "runs/mine")
#     sr = superresolve("lens.fits", "fast", weights=weights)
#
# Hold out some pairs and compare as above. If fine-tuning or adaptation gains nothing on them, use
# the original network. See :doc:`/user_guide/transfer`.
