"""
From simulated to observed
==========================

A network in the package was trained on simulated pairs. The sky is another matter: galaxies are no
Sersic profiles, PSFs no Moffat profiles, and the telescope may be another. This tutorial carries
the smallest good network over to such a sky in two ways, with targets and without, and measures on
unseen pairs what that was worth.
"""

# %%
# The target domain
# -----------------
#
# Pairs of the preset ``observed-like``: real galaxies behind lenses, measured PSFs, cuts of real
# skies with whatever is in them, at pixels of 0.263 arcsec, which the network never saw. The sky is
# not subtracted. In place of the 300 pairs that one would like to have there are 120 small ones, so
# that this page is made in a minute.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from lenssr.evaluate import plot_catalog
from lenssr.simulate import simulate_catalog

folder = Path(tempfile.mkdtemp())
options = dict(preset="observed-like", engine="torch", size=32, progress=False)
observed = simulate_catalog(folder / "observed", 120, seed=1, **options)
unseen = simulate_catalog(folder / "unseen", 30, seed=2, **options)
_ = plot_catalog(unseen, 6, figure=plt.figure(layout="constrained"))

# %%
# With targets
# ------------
#
# `~lenssr.train.finetune` trains in two stages: first the up-sampling part alone, the features
# being left as they are; then all of it. A hundred steps are few, so the rates here are about those
# of a training from scratch. By default the second is a tenth of that, and there are many more
# steps.

from lenssr.train import finetune

tuned = finetune("fast-x2", folder / "observed", folder / "tuned", steps=(30, 100),
                 learning_rates=(1e-3, 5e-4), batch=8, size=16, progress=False)

# %%
# Twelve of the pairs were held out. A stage whose curve falls, and does not rise again soon, has a
# rate that is too high.

from astropy.table import Table

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
start = 0
for stage in ("upsampler", "all"):
    curve = Table.read(folder / "tuned" / stage / "curve.csv")
    axis.plot(curve["step"] + start, curve["psnr"], "o-", label=stage)
    start += curve["step"][-1]
axis.set(xlabel="step", ylabel="PSNR on pairs held out / dB")
_ = axis.legend()

# %%
# Without targets
# ---------------
#
# Mostly there is nothing sharper of the same sky. `~lenssr.train.adapt` sees the images alone, and
# makes the features of the network for them like those for simulated ones, until a discriminator
# can't tell them apart. Simulated pairs are restored beside, so that the network does not forget;
# of their scenes 250 are enough here.

from lenssr.train import adapt

adapted = adapt("fast-x2", folder / "observed", folder / "adapted", steps=40, min_steps=40, batch=4,
                size=24, scenes=250, progress=False)

# %%
# What was gained
# ---------------
#
# All on the unseen pairs, against the truth without noise. The input has the pedestal of a sky that
# was not subtracted, which methods carry along, as they should, and the truth has none: so the
# constant that fits best is taken off first (the columns ``matched`` of a benchmark). ``removed``
# is the share of the error of bilinear interpolation that is gone.

from lenssr.evaluate import benchmark

weights = {"tuned, first stage": folder / "tuned" / "upsampler" / tuned.name,
           "tuned": tuned, "adapted": adapted}
found = benchmark(folder / "unseen", ["richardson_lucy", "fast"], weights=weights, training=0)
score = found.summary["method", "truth_psnr_matched", "truth_psnr_arc_matched",
                      "truth_removed_matched"]
score.rename_columns(score.colnames, ["method", "PSNR", "PSNR of arcs", "removed"])
print(score)

# %%
# Fine-tuning is worth more than two decibels. As it comes, the network is behind Richardson-Lucy on
# this sky, most of whose PSFs are sharper than those it was trained with; after some hundred steps
# the two are level. Adaptation is worth nothing here. It stays close to where it began, and bolder
# settings (``adversarial=0.1, learning_rate=1e-4``, three times the steps) lost a decibel when they
# were tried. The images of the two domains differ in what matters for their restoration, and a
# network that is made blind to it does not restore them better. Only targets can tell: keep some.

# %%
# The lens with the sharpest PSF among the unseen ones, its sky subtracted, against the truth
# without noise. That PSF is outside of the range of the training, which a warning says: the network
# takes the arcs for more blurred than they are, and makes them too thin.

from dataclasses import replace

import numpy as np

from lenssr import superresolve
from lenssr.evaluate import comparison_figure

pair = max(unseen, key=lambda pair: (pair.lr.psf**2).sum())
pair = replace(pair, hr=pair.truth["hr"])
edge = np.concatenate([*pair.lr.data[[0, -1]], *pair.lr.data[:, [0, -1]].T])
pair.lr.data -= np.median(edge)
results = {name: superresolve(pair.lr, "fast", weights=file) for name, file in (
    ("fast", "fast-x2"), ("tuned", tuned), ("adapted", adapted))}
_ = comparison_figure(pair, results, figure=plt.figure(layout="constrained"))

# %%
# Your own field, seen twice
# --------------------------
#
# With images of the same lenses from the ground and from space there is no need for simulations.
# `~lenssr.simulate.pair_observations` brings the sharp one to the resolution, the grid, the gain
# and the sky of the other, with noise and mask, and says in ``pair.truth`` how well they agree:
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
# Keep some pairs away from the training, and compare as above. Where fine-tuning or adaptation does
# not gain on those, keep to the network as it was. More in :doc:`/user_guide/transfer`.
