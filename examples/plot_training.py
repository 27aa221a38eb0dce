"""
Train your own
==============

A network is made by a recipe: which network, which pairs, which optimisation. This tutorial trains
a very small one for a minute, so that you see all of it; the recipes in the package train those
that are worth using.
"""

# %%
# The recipe. FSRCNN has few channels, and five numbers describe the PSF. The lenses have the
# pixels and seeings of HSC. Scenes are rendered once and observed again at each use, with
# new seeing, depth and noise.

import tempfile
from dataclasses import replace
from pathlib import Path

from lenssr.train import Data, Recipe, Training

recipe = Recipe(
    "tiny",
    dict(architecture="fsrcnn", scale=2, d=16, s=8, m=3, conditions=5, skip=True),
    Data(preset="hsc-hst", scenes=250, validation_scenes=50, size=24),
    Training(steps=300, batch=8, learning_rate=2e-3, warmup=30, validate_every=30, ema=0.98,
             precision="float32"))
folder = Path(tempfile.mkdtemp())

# %%
# Which learning rate? A range test raises it step by step until the loss runs away. It begins with
# fresh weights and leaves the recipe as it is.

import matplotlib.pyplot as plt

from lenssr.train import find_learning_rate

tried = find_learning_rate(replace(recipe, name="search"), progress=False)
print(f"suggested: {tried.suggestion:.1e}")

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
axis.plot(tried.rates, tried.smoothed)
axis.axvline(tried.suggestion, color="gray", linestyle=":")
_ = axis.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")

# %%
# The training itself. The folder gets checkpoints, the validation curve, and in the end the weights
# with a card that holds the recipe and the figures. The same call goes on after an interruption.

from lenssr.train import fit

weights = fit(recipe, folder, progress=False)

from astropy.table import Table

curve = Table.read(folder / "curve.csv")
print(curve["step", "loss", "psnr", "flux_ratio"])

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
axis.plot(curve["step"], curve["psnr"], "o-")
_ = axis.set(xlabel="step", ylabel="PSNR on unseen pairs / dB")

# %%
# Its weights are used like those of the package. After a minute on a processor it is no good
# network, but better than interpolation: on the real lens that comes with lenssr, too?

from lenssr import superresolve
from lenssr.data import demo_lens
from lenssr.evaluate import image_metrics

pair = demo_lens()
for name, options in (("bilinear", {}), ("fsrcnn", {"weights": weights}), ("rcan", {})):
    result = superresolve(pair.lr, name, **options)
    found = image_metrics(result, pair.hr, data_range=float(pair.hr.data.max()))
    print(f"{name:10s} {found['psnr']:6.2f} dB")
