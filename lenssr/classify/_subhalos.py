"""One subhalo in a smooth lens: how often it is found, and how often one that is not there."""

import numpy as np
from astropy.table import Table

from lenssr.evaluate._fidelity.twins import with_subhalo
from lenssr.simulate._given import GivenSeries
from lenssr.simulate._presets import find_preset
from lenssr.simulate._series import draw_model

__all__ = ["MASSES", "subhalo_table", "twin_series"]

MASSES = (0.0, 1e7, 1e8, 1e9, 1e10)
"""Solar masses of the subhalos; zero: none."""


def twin_series(preset, n, seed):
    """
    Series of the same smooth lenses with a subhalo of each mass on their brightest arc.

    Pair ``i`` has the same lens, source, telescope and noise in all of them.

    Parameters
    ----------
    preset : str
        Whose lenses these are.
    n : int
        How many.
    seed : int
        Of all that is drawn.

    Returns
    -------
    series : dict
        `~lenssr.simulate._given.GivenSeries` by mass.
    """
    found = find_preset(preset)
    smooth = [draw_model(found.population, seed, i) for i in range(n)]
    return {mass: GivenSeries([with_subhalo(scene, mass) for scene in smooth] if mass else smooth,
                              found.instrument, found.size, seed=seed) for mass in MASSES}


def subhalo_table(verdicts, thresholds, smooth=0):
    """
    Completeness and false positives.

    Parameters
    ----------
    verdicts : dict
        Probabilities by ``(classifier, way)`` and mass.
    thresholds : dict
        Of each classifier, as `~lenssr.classify._verdicts.smooth_threshold` gives them.
    smooth : int
        Number of the class of smooth lenses.

    Returns
    -------
    table : `~astropy.table.Table`
        A row for each: ``false_positive``, the share of lenses without a subhalo in which one
        is seen; ``ratio``, that over the share of sharp images; ``found_MASS``, the share of
        those with one.
    """
    rows = []
    for (classifier, way), by_mass in verdicts.items():
        cut = thresholds[classifier]
        shares = {mass: float(np.mean(1 - chances[:, smooth] > cut))
                  for mass, chances in by_mass.items()}
        sharp = verdicts.get((classifier, "HR"), by_mass)[0.0]
        reference = float(np.mean(1 - sharp[:, smooth] > cut))
        rows.append({"classifier": classifier, "images": way, "n": len(by_mass[0.0]),
                     "threshold": cut, "false_positive": shares[0.0],
                     "ratio": shares[0.0] / reference if reference else np.nan,
                     **{f"found_1e{np.log10(mass):.0f}": shares[mass]
                        for mass in by_mass if mass}})
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".3f"
    return table
