"""
Which dark matter?
==================

Smooth, clumped, or with a vortex: a classifier says how probable each is, in a sharp image of a
lens. This tutorial asks it about images that are sharp, that are observed, and that are restored,
and then looks at what the whole experiment found.
"""

# %%
# The same lens with three kinds of dark matter, as a telescope like Euclid sees it and as it is.

import matplotlib.pyplot as plt
import numpy as np

from lenssr.simulate import simulate_pair

kinds = ("no_sub", "cdm", "axion")
pairs = {kind: simulate_pair("classification", substructure=kind, seed=5, index=4, engine="torch")
         for kind in kinds}
figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained")
for column, kind in zip(axes.T, kinds):
    for axis, image, words in zip(column, (pairs[kind].lr, pairs[kind].hr), ("observed", "sharp")):
        axis.imshow(np.arcsinh(30 * image.data / np.max(image.data)), origin="lower")
        axis.set(title=f"{kind}, {words}", xticks=[], yticks=[])

# %%
# On a logarithmic scale, and with what is smooth taken off, the sharp images differ; the eye needs
# help. The classifier is given such scales as its input.

import torch

from lenssr.networks import starlet

figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
for axis, kind in zip(axes, kinds):
    sharp = np.asarray(pairs[kind].hr.data, dtype=float)
    seen = torch.from_numpy(np.arcsinh(sharp / (0.005 * sharp.max())))[None, None]
    axis.imshow(starlet(seen, 2)[0, 1], origin="lower", cmap="RdBu", vmin=-0.1, vmax=0.1)
    axis.set(title=kind, xticks=[], yticks=[])

# %%
# What it says of the sharp images, and of results of `lenssr.superresolve`. The last column is to
# be looked at first: a result that is unlike the images of the training tells nothing.

import warnings

from astropy.table import vstack

from lenssr import LensSRWarning, superresolve
from lenssr.classify import classify

with warnings.catch_warnings():
    warnings.simplefilter("ignore", LensSRWarning)
    tables = [classify([pairs[kind].hr for kind in kinds])]
    for method in ("unrolled", "bilinear"):
        results = [superresolve(pairs[kind].lr, method) for kind in kinds]
        tables.append(classify(results))
found = vstack(tables, metadata_conflicts="silent")
found["image"] = [f"{kind}, {words}" for words in ("sharp", "unrolled", "bilinear")
                  for kind in kinds]
print("\n".join(found.pformat(max_width=-1)))

# %%
# One lens is an anecdote. The experiment, ``lenssr benchmark --experiment dark-matter``, takes
# hundreds; these are figures of the shipped classifier on images by the methods that come with
# lenssr.

from pathlib import Path

from astropy.table import Table

tables = Path.cwd().parent / "docs" / "user_guide" / "tables"
scores = Table.read(tables / "dark_matter_scores.csv", format="ascii.csv")
print("\n".join(scores["classifier", "images", "accuracy", "auc_no_sub"].pformat(
    max_lines=-1, max_width=-1)))

# %%
# How to read it: the row ``HR`` on ``HR`` says what sharp images hold, the others what a classifier
# of sharp images makes of the rest. A whole run has a classifier that was trained on observed
# images, too: no restoration can add to what these hold, and one that seems to has told the
# classifier about its own training. The page :ref:`dark-matter` has all tables, and the false
# positives.
