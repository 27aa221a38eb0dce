"""One subhalo in a smooth lens: how often it is found, and how often one that is not there."""

import numpy as np
from astropy.table import Table

from lenssr.classify._scores import bootstrap
from lenssr.classify._verdicts import crossed_thresholds, smooth_threshold
from lenssr.evaluate import add_subhalo
from lenssr.simulate import GivenSeries, draw_model, find_preset

__all__ = ["MASSES", "subhalo_table", "twin_series"]

MASSES = (1e7, 1e8, 1e9, 1e10)
"""Solar masses of the subhalos."""


def twin_series(preset, n, seed):
    """Series of the same smooth lenses with a subhalo of each mass on their brightest arc."""
    found = find_preset(preset)
    smooth = [draw_model(found.population, seed, i) for i in range(n)]
    return {mass: GivenSeries([add_subhalo(scene, mass) for scene in smooth], found.instrument,
                              found.size, seed=seed) for mass in MASSES}


def subhalo_table(smooth, twins, own, seed=0):
    """Completeness and false positives."""
    rows = []
    whole = {name: smooth_threshold(smooth[name, way]) for name, way in own.items()}
    crossed = {name: crossed_thresholds(smooth[name, way]) for name, way in own.items()}
    sharp = smooth["HR", "HR"] > crossed["HR"]
    same = np.zeros(len(sharp), int)
    for (classifier, way), chances in smooth.items():
        cut, false = whole[classifier], chances > crossed[classifier]
        row = {"classifier": classifier, "images": way, "n": len(false), "threshold": cut,
               "false_positive": float(false.mean()), "ratio": _ratio(same, false, sharp)}
        row["ratio_low"], row["ratio_high"] = bootstrap(_ratio, same, false, sharp, seed=seed)
        row |= {f"found_1e{np.log10(mass):.0f}": float(np.mean(found[classifier, way] > cut))
                for mass, found in twins.items()}
        rows.append(row)
    table = Table(rows)
    for name in table.colnames[3:]:
        table[name].info.format = ".3f"
    return table


def _ratio(_, false, sharp):
    return false.mean() / sharp.mean() if sharp.any() else np.nan
