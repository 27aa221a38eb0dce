"""
First light
===========

A real lens, observed with HST, degraded to ground-based seeing and restored by three methods.

The package ships a small cut of an HST image of a strong lens, and the same cut as a telescope on
the ground would see it: blurred, binned and with more noise. So here, for once, the truth is
known.
"""

# %%
# The pair is two `~astropy.nddata.CCDData`, with an uncertainty, a unit and a point-spread function
# each. ``lr`` is what a survey has; ``hr`` is the truth, at the resolution that lenssr declares for
# its results.

from lenssr.data import demo_lens

pair = demo_lens()
print("observed:", pair.lr.shape, pair.lr.unit)
print("truth:   ", pair.hr.shape, pair.hr.unit)

# %%
# One call restores it. Interpolation adds no resolution; Richardson-Lucy deconvolves with the
# image's own point-spread function; RCAN is a network that has learnt from simulated lenses. None
# of them sees the truth.

from lenssr import superresolve

methods = ["bilinear", "richardson_lucy", "rcan"]
results = {method: superresolve(pair.lr, method=method, scale=2, seed=0) for method in methods}

# %%
# All images on the same stretch, in units of the noise of the sky. The stretch is an asinh, which
# is linear near zero and logarithmic far from it, so that neither the arcs nor the core of the
# lens drowns.

import matplotlib.pyplot as plt
import numpy as np

noise = np.median(pair.lr.uncertainty.array)


def show(axis, values, title):
    """Draw an image of the scene, of any sampling, over the same patch of sky."""
    scale = values.shape[0] / pair.lr.shape[0]
    axis.imshow(np.arcsinh(values * scale**2 / (3 * noise)), origin="lower", cmap="magma",
                vmin=-0.5, vmax=np.arcsinh(pair.lr.data.max() / (3 * noise)))
    axis.set_title(title)
    axis.set_axis_off()


figure, axes = plt.subplots(1, 5, figsize=(12, 2.8), layout="constrained")
show(axes[0], pair.lr.data, "observed")
for axis, method in zip(axes[1:4], methods):
    show(axis, results[method].data, method)
show(axes[4], pair.hr.data, "truth")

# %%
# The residuals say more than the images. They are shown over the standard deviation that the noise
# of the data gives to each result: where they exceed it by far, the error is not noise but what the
# data leave undetermined. On the empty sky of the network's result, which is very smooth, it is the
# noise of the truth that shows: that too is an observation.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, method in zip(axes, methods):
    sr = results[method]
    residual = (sr.data - pair.hr.data) / sr.measurement_std
    drawn = axis.imshow(residual, origin="lower", cmap="RdBu_r", vmin=-5, vmax=5)
    axis.set_title(method)
    axis.set_axis_off()
figure.colorbar(drawn, ax=axes, shrink=0.8,
                label="(result - truth) / measurement error")

# %%
# The root mean square of the error, against bilinear interpolation, and the flux in the whole cut,
# against the truth.

reference = np.std(results["bilinear"].data - pair.hr.data)
for method, sr in results.items():
    error = np.std(sr.data - pair.hr.data) / reference
    flux = sr.data.sum() / pair.hr.data.sum()
    print(f"{method:16s} error / bilinear's {error:5.2f}   flux / truth {flux:6.3f}")

# %%
# One lens says nothing about a method's merit: see the benchmarks for many. Before a result is
# used, read :doc:`/user_guide/limits`.
