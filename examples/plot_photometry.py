"""
From image to photometry
========================

A real lens seen from the ground, restored, checked, and measured: fluxes along its arcs, each with
an error that knows that neighbouring pixels are not independent.

The image is that of the double Einstein ring in the package, observed with HST and degraded to a
seeing of 0.75 arcsec, so that every flux can be compared with the truth.
"""

# %%
# Restore
# -------
#
# The image carries its noise and its point-spread function; without either, say ``uncertainty=``
# and ``psf=``. What was assumed, estimated or dropped would be warned of, and kept in the header.
# ``SRCALIB`` says that the errors are calibrated: they hold what the data leave undetermined, too.

from lenssr import superresolve
from lenssr.data import demo_lens

pair = demo_lens()
sr = superresolve(pair.lr, "unrolled", seed=0)
for key in ("SRMETHOD", "SRWEIGHT", "SRCALIB", "SRNOISE", "SRPSF", "SRCHI2"):
    print(f"{key:8s} {sr.header[key]!s:20s} {sr.header.comments[key]}")

# %%
# Does it agree with the data?
# ----------------------------
#
# The card ``SRCHI2`` is the reduced chi-square of the result, brought back to the data, and
# ``sr.consistency`` the same about each pixel. Where it is far above one the result contradicts
# what was observed, and nothing should be measured there. What agrees may still be invented: the
# prior map says how much of each value the data do not determine.

import matplotlib.pyplot as plt
import numpy as np

from lenssr.evaluate import prior_map

imagined = prior_map(sr, pair.lr)
noise = np.median(pair.lr.uncertainty.array) / 4
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
axes[0].imshow(np.arcsinh(sr.data / (3 * noise)), origin="lower", cmap="magma")
axes[0].set_title("result")
for axis, values, title, top in ((axes[1], sr.consistency, "reduced chi-square", 2),
                                 (axes[2], imagined, "share not determined by the data", 1)):
    drawn = axis.imshow(values, origin="lower", vmin=0, vmax=top)
    axis.set_title(title)
    figure.colorbar(drawn, ax=axis)
for axis in axes:
    axis.set_axis_off()

# %%
# Measure
# -------
#
# Eight apertures along the ring, and one on the lens galaxy. Positions are on the sky: the result
# has the coordinates of its input, on pixels half as large.

from astropy import units as u
from photutils.aperture import CircularAperture, SkyCircularAperture

middle, radius, size = (sr.shape[0] - 1) / 2, 1.43 * u.arcsec, 0.35 * u.arcsec
angles = np.arange(0, 360, 45) * u.deg
pixel = 0.1 * u.arcsec
x = middle + np.concatenate([[0], (radius / pixel).value * np.cos(angles).value])
y = middle + np.concatenate([[0], (radius / pixel).value * np.sin(angles).value])
apertures = SkyCircularAperture(sr.wcs.pixel_to_world(x, y), size)
flux, error = sr.aperture_sum(apertures)

# %%
# ``aperture_sum`` adds the errors with their correlation. In quadrature, as if pixels were
# independent, they come out several times too small.

from astropy.table import Table

pixels = apertures.to_pixel(sr.wcs)
truth = pixels.do_photometry(pair.hr.data)[0]
plain = pixels.do_photometry(sr.data, error=sr.uncertainty.array)[1]
table = Table({"flux": flux.value, "error": error.value, "in quadrature": plain, "truth": truth,
               "(flux - truth) / error": (flux.value - truth) / error.value})
table.round(3)
table.pprint_all()

# %%
# The same, drawn. The truth is an observation, too, with a little noise of its own.

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained",
                            width_ratios=(1, 1.4))
axes[0].imshow(np.arcsinh(sr.data / (3 * noise)), origin="lower", cmap="magma")
for number, position in enumerate(pixels.positions):
    CircularAperture(position, pixels.r).plot(ax=axes[0], color="w")
    axes[0].annotate(str(number), position, color="w", ha="center", va="center")
axes[0].set_axis_off()
numbers = np.arange(len(flux))
axes[1].errorbar(numbers[1:], flux.value[1:], error.value[1:], fmt="o", capsize=3, label="result")
axes[1].plot(numbers[1:], truth[1:], "k_", ms=14, label="truth")
axes[1].set(xlabel="aperture along the ring", ylabel=f"flux / ({flux.unit})")
_ = axes[1].legend()

# %%
# Before such fluxes go into a paper, see :doc:`/user_guide/fidelity` for what the method does to
# many lenses, and :doc:`/user_guide/limits` for what no method can do.
