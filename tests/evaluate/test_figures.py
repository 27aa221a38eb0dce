"""The comparison figure: what it draws, in which units."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from lenssr.evaluate import comparison_figure
from lenssr.simulate import LensPair


def make_pair(unit):
    truth = np.ones((16, 16))
    truth[8, 8] = 10
    lr = CCDData(np.full((8, 8), 4.0), unit=unit, uncertainty=StdDevUncertainty(np.ones((8, 8))))
    return LensPair(lr, CCDData(truth, unit=unit))


@pytest.mark.parametrize("unit, area", [(u.electron, 4), (u.MJy / u.sr, 1)])
def test_units_of_the_panels(unit, area):
    pair = make_pair(unit)
    off = pair.hr.data + 0.5
    figure = comparison_figure(pair, {"copy": pair.hr, "off": off}, "a lens")
    axes = [axis for axis in figure.axes if axis.images]
    above, below = axes[:4], axes[4:6]
    assert [axis.get_title() for axis in above] == ["observed", "copy", "off", "truth"]
    # one stretch: sinh(3 sigma) undone gives surface brightness per input pixel
    seen = [3 * np.sinh(axis.images[0].get_array()) for axis in above]
    assert np.allclose(seen[0], 4)
    assert np.allclose(seen[1], seen[3])
    assert np.allclose(seen[2], area * off)
    assert len({axis.images[0].get_clim() for axis in above}) == 1
    assert abs(below[0].images[0].get_array()).max() == 0
    assert np.allclose(below[1].images[0].get_array(), area * 0.5)
    # the error is 0.5 everywhere, the peak is 10
    assert below[1].get_title() == f"PSNR {20 * np.log10(20):.2f} dB"


def test_what_cannot_be_drawn():
    pair = make_pair(u.electron)
    with pytest.raises(ValueError, match="'small' has"):
        comparison_figure(pair, {"small": np.ones((8, 8))})
    pair.lr.uncertainty = None
    with pytest.raises(ValueError, match="an uncertainty, got None"):
        comparison_figure(pair, {})


def test_contact_sheet_draws_each_pair():
    from lenssr.evaluate import plot_catalog
    from lenssr.simulate import simulate_pair

    pairs = [simulate_pair(size=12, seed=1, index=i, substructure="axion") for i in range(5)]
    figure = plot_catalog(pairs, 4, columns=3)
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 8
    titles = [axis.get_title() for axis in drawn if axis.get_title()]
    assert titles == [f"{i} {p.truth['scene_type']} {p.truth['substructure']}"
                      for i, p in enumerate(pairs[:4])]
    # One sky per unit of area: both images of a pair have the same sum on the sheet's stretch.
    low, high = (axis.images[0].get_clim() for axis in (drawn[0], drawn[3]))
    assert low == high
    with pytest.raises(ValueError, match="`n` must be a positive integer, got 0"):
        plot_catalog(pairs, 0)


def test_comparison_in_rows_on_a_figure_of_ones_own():
    from matplotlib.figure import Figure

    pair, mine = make_pair(u.electron), Figure(layout="constrained")
    results = {name: pair.hr for name in ("one", "two", "three")}
    assert comparison_figure(pair, results, columns=2, figure=mine) is mine
    above = [axis for axis in mine.axes if axis.get_title() in ("observed", "truth", *results)]
    grid = [axis.get_subplotspec() for axis in above]
    where = {axis.get_title(): (spec.rowspan.start, spec.colspan.start)
             for axis, spec in zip(above, grid)}
    assert where == {"observed": (0, 0), "one": (0, 1), "two": (2, 0), "three": (2, 1),
                     "truth": (4, 0)}
    # All that has nothing to show is off: below the input and the truth, and the last place.
    off = [axis for axis in mine.axes if not axis.axison]
    assert {(axis.get_subplotspec().rowspan.start, axis.get_subplotspec().colspan.start)
            for axis in off} == {(1, 0), (5, 0), (4, 1), (5, 1)}
    with pytest.raises(ValueError, match="`columns` must be a positive integer, got 0"):
        comparison_figure(pair, results, columns=0)
