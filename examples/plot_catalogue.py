"""
A catalogue of simulated lenses
===============================

To train a network, or to test one, takes pairs of images whose truth is known. This tutorial makes
a small catalogue, looks at it, and checks that its statistics are those that were asked for.
"""

# %%
# Three classes of dark matter take turns in it: no substructure, subhalos of cold dark matter, and
# a vortex of axions. The preset has lenses at the pixels of Euclid. The same call again, after an
# interruption, goes on where it stopped.

import tempfile
from pathlib import Path

from lenssr.simulate import simulate_catalog

folder = Path(tempfile.mkdtemp()) / "pairs"
catalog = simulate_catalog(folder, 300, "classification", engine="torch", seed=3, progress=False)
print(catalog)

# %%
# The images of low resolution, with those of high resolution below them.

import matplotlib.pyplot as plt

from lenssr.evaluate import plot_catalog

_ = plot_catalog(catalog, 12, figure=plt.figure(layout="constrained"))

# %%
# A pair has two `~astropy.nddata.CCDData`, with sky coordinates, unit, noise and PSF, and a truth.

pair = catalog[1]
print(pair.lr.shape, pair.hr.shape, pair.lr.unit)
print(pair.truth["substructure"], pair.truth["theta_e"], len(pair.truth["halos"]))
print(pair.truth["halos"][:3])

# %%
# The truths of all pairs are a table with units.

table = catalog.table
print(table["substructure", "z_lens", "theta_e", "halo_mass", "vortex_length", "snr"][:6])

# %%
# Now the statistics. The masses of the halos are to follow :math:`dN/dm \propto m^{-0.9}` between
# 1e6 and 1e10 solar masses, as in the public sets: :math:`m^{0.1}` is then uniform, and the counts
# in equal steps of it are equal, but for Poisson noise.

import numpy as np

masses = np.concatenate([catalog[i].truth["halos"]["mass"].value
                         for i in np.flatnonzero(table["substructure"] == "cdm")])
edges = np.linspace(1e6**0.1, 1e10**0.1, 11)
counts, _ = np.histogram(masses**0.1, edges)
expected = len(masses) / 10
chi2 = ((counts - expected) ** 2 / expected).sum()
print(f"{len(masses)} halos, chi2 of 10 bins: {chi2:.1f}")

figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
axis.stairs(counts, edges**10, label="drawn")
axis.axhline(expected, color="gray", label="declared")
axis.set(xscale="log", xlabel="mass / solar masses", ylabel="halos in equal steps of $m^{0.1}$")
_ = axis.legend()

# %%
# And no class is to be told by what is not the shape of its arcs: the distributions of the total
# flux are the same for all three. A network that tells the classes apart has to look at the arcs.

figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
for name in ("no_sub", "cdm", "axion"):
    flux = np.sort(table["flux"].value[table["substructure"] == name])
    axis.plot(flux, np.arange(1, len(flux) + 1) / len(flux), label=name)
axis.set(xscale="log", xlabel="total flux / electrons", ylabel="share below")
_ = axis.legend()

# %%
# In files: FITS pairs, or the folders of arrays that the sets of DeepLense have, which
# `~lenssr.simulate.open_catalog` opens too.

from lenssr.simulate import open_catalog

catalog.export(folder.parent / "ml4sci", "deeplense")
print(open_catalog(folder.parent / "ml4sci"))
