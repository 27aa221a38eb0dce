"""
A catalogue of simulated lenses
===============================

Training and tests of a network need pairs of images with a known truth. This tutorial simulates a
small catalogue, plots it, and checks its statistics.
"""

# %%
# Three classes of dark matter alternate: no substructure, subhalos of cold dark matter, and an
# axion vortex. The preset has lenses at the pixel scale of Euclid. After an interruption, the same
# call resumes the simulation.

import tempfile
from pathlib import Path

from lenssr.simulate import simulate_catalog

folder = Path(tempfile.mkdtemp()) / "pairs"
catalog = simulate_catalog(folder, 300, "classification", engine="torch", seed=3, progress=False)
print(catalog)

# %%
# Low-resolution images, with the high-resolution images below.

import matplotlib.pyplot as plt

from lenssr.evaluate import plot_catalog

_ = plot_catalog(catalog, 12, figure=plt.figure(layout="constrained"))

# %%
# A pair has two `~astropy.nddata.CCDData`, with WCS, unit, uncertainty and PSF, and a truth.

pair = catalog[1]
print(pair.lr.shape, pair.hr.shape, pair.lr.unit)
print(pair.truth["substructure"], pair.truth["theta_e"], len(pair.truth["halos"]))
print(pair.truth["halos"][:3])

# %%
# The table of the catalogue has the truths of all pairs, with units.

table = catalog.table
print(table["substructure", "z_lens", "theta_e", "halo_mass", "vortex_length", "snr"][:6])

# %%
# Halo masses follow :math:`dN/dm \propto m^{-0.9}` between 1e6 and 1e10 solar masses, as in the
# DeepLense data sets. Hence :math:`m^{0.1}` is uniform: counts in equal steps of :math:`m^{0.1}`
# are equal within Poisson noise.

import numpy as np

masses = np.concatenate([catalog[i].truth["halos"]["mass"].value
                         for i in np.flatnonzero(table["substructure"] == "cdm")])
edges = np.linspace(1e6**0.1, 1e10**0.1, 11)
counts, _ = np.histogram(masses**0.1, edges)
expected = len(masses) / 10
chi2 = ((counts - expected) ** 2 / expected).sum()
print(f"{len(masses)} halos, chi2 of 10 bins: {chi2:.1f}")

figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
axis.stairs(counts, edges**10, label="simulated")
axis.axhline(expected, color="gray", label="expected")
axis.set(xscale="log", xlabel="mass / solar masses", ylabel="halos in equal steps of $m^{0.1}$")
_ = axis.legend()

# %%
# The classes must differ in the shape of their arcs only: the total flux has the same distribution
# in all classes, so that a classifier cannot use it.

figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
for name in ("no_sub", "cdm", "axion"):
    flux = np.sort(table["flux"].value[table["substructure"] == name])
    axis.plot(flux, np.arange(1, len(flux) + 1) / len(flux), label=name)
axis.set(xscale="log", xlabel="total flux / electrons", ylabel="cumulative fraction")
_ = axis.legend()

# %%
# A catalogue is exported as FITS files or in the layout of the DeepLense data sets.
# `~lenssr.simulate.open_catalog` opens both.

from lenssr.simulate import open_catalog

catalog.export(folder.parent / "ml4sci", "deeplense")
print(open_catalog(folder.parent / "ml4sci"))
