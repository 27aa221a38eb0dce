"""Base class and table helpers of the fidelity tests."""

import numpy as np
from astropy.stats import mad_std
from astropy.table import Table

SNR_EDGES = (10.0, 20.0, 40.0, 100.0, 200.0, 400.0, np.inf)
"""Edges of the bins of the signal to noise of the input."""

BRIGHT_SNR = 40.0  # lower edge of the bin of all bright objects
MIN_VALUES = 3  # values needed for a scatter

COLUMNS = {
    "method": ("", "", "method, or which image"),
    "of": ("", "", "what was measured"),
    "snr_low": (".0f", "", "signal to noise of the input (matched filter), from"),
    "snr_high": (".0f", "", "and below"),
    "n": ("d", "", "images or objects"),
    "aperture": ("d", "pix", "radius of the aperture; zero: all pixels"),
    "ratio": (".4f", "", "median of measured over true value"),
    "error": (".4f", "", "standard error of the median"),
    "scatter": (".4f", "", "1.48 median absolute deviations"),
    "dx": (".4f", "pix", "median shift along x"),
    "dy": (".4f", "pix", "median shift along y"),
    "dx_error": (".4f", "pix", "standard error of it"),
    "dy_error": (".4f", "pix", "standard error of it"),
    "dx_scatter": (".4f", "pix", "1.48 median absolute deviations"),
    "dy_scatter": (".4f", "pix", "1.48 median absolute deviations"),
    "length": (".4f", "pix", "median length of the shift"),
    "lost": (".3f", "", "fraction of objects that cannot be measured on the result"),
    "slope": (".3f", "", "slope of recovered on true ellipticity"),
    "slope_error": (".3f", "", "bootstrap error of it"),
    "corrected": (".3f", "", "slope after the correction of the other half"),
    "corrected_error": (".3f", "", "bootstrap error of it"),
    "a": (".4f", "", "slope = 1 / (a + b / snr^2)"),
    "a_error": (".4f", "", "standard error"),
    "b": (".1f", "", "slope = 1 / (a + b / snr^2)"),
    "b_error": (".1f", "", "standard error"),
    "chi2": (".3f", "", "median reduced chi-squared of results against their data"),
    "near": (".3f", "", "fraction of images from 0.9 to 1.1"),
    "above": (".3f", "", "fraction of images above 1.1"),
    "k": (".4f", "1 / pix", "middle of a ring of spatial frequency"),
    "transfer": (".4f", "", "T(k), root of power over true power"),
    "correlation": (".4f", "", "correlation with the truth"),
    "split": ("", "", "property that divides the pixels"),
    "bin": ("", "", "which of them"),
    "pixels": ("d", "", "pixels"),
    "within_1": (".4f", "", "fraction within one sigma"),
    "within_1_error": (".4f", "", "bootstrap error of it"),
    "within_2": (".4f", "", "fraction within two sigma"),
    "within_2_error": (".4f", "", "bootstrap error of it"),
    "errors": ("", "", "aperture_sum, or errors added in quadrature"),
    "fwhm": (".4f", "pix", "median FWHM of stars in the result"),
    "declared": (".4f", "pix", "FWHM of the PSF of the result"),
    "e1": (".4f", "", "median ellipticity of stars minus ellipticity of the PSF, along the axes"),
    "e2": (".4f", "", "the same, along the diagonals"),
    "noise": ("", "", "noise of the input"),
    "lag": (".2f", "", "correlation of neighbouring input pixels"),
    "by_uncertainty": ("d", "", "sources above 5 sigma, sigma being the uncertainty"),
    "per_million": (".2f", "", "the same in 1e6 output pixels"),
    "limit": (".2f", "", "upper limit of it, 95 per cent"),
    "by_scatter": ("d", "", "above five times the scatter of the result itself"),
    "by_input": ("d", "", "above five times the noise of an input pixel"),
    "mass": (".1e", "solMass", "mass of the subhalo"),
    "contrast": (".3f", "", "peak of the true difference over the noise of the input, median"),
    "amplitude": (".3f", "", "median recovered fraction of the true difference, same noise"),
    "amplitude_scatter": (".3f", "", "1.48 median absolute deviations"),
    "fresh_correlation": (".3f", "", "median correlation, noise of both images independent"),
    "false_amplitude": (".3f", "", "rms amplitude of twins that differ in their noise alone"),
    "false_correlation": (".3f", "", "rms correlation of these"),
    "to_hr": (".4f", "", "median Einstein radius over the Einstein radius of the target"),
    "to_truth": (".4f", "", "median of it over the true one"),
}
"""What the columns of all tables hold: format, unit, description."""


class FidelityTest:
    """Base class of a fidelity test."""

    errors, uses_pairs, groups = False, False, None

    def references(self, samples):
        """Return rows of references such as the truth, by label."""
        return {}

    def measure(self, restored):
        """Return the rows of measurements of restored pairs."""
        raise NotImplementedError

    def tables(self, rows, rng):
        """Return the tables of all rows."""
        raise NotImplementedError


def make_table(rows, columns=COLUMNS):
    """Make a table with column descriptions; NaN becomes masked."""
    rows = list(rows)
    if not rows:
        return Table()
    table = Table(rows, masked=True)
    for name in table.colnames:
        form, unit, about = (COLUMNS | columns)[name]
        column = table[name]
        column.info.description = about
        if form:
            column.info.format = form
        if unit:
            column.unit = unit
        if column.dtype.kind == "f":
            column.mask = np.isnan(column)
    return table


def snr_bins(snr):
    """Yield ``low, high, selection`` for all objects, bright objects, and each bin of SNR."""
    snr = np.asarray(snr)
    for low, high in ((SNR_EDGES[0], np.inf), (BRIGHT_SNR, np.inf), *zip(SNR_EDGES, SNR_EDGES[1:])):
        yield low, high, (snr >= low) & (snr < high)


def robust_statistics(values):
    """Compute median, standard error, scatter and number of the finite values."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < MIN_VALUES:
        return np.median(values) if len(values) else np.nan, np.nan, np.nan, len(values)
    scatter = mad_std(values)
    # Standard error of the median of a normal distribution: sqrt(pi / 2) times that of the
    # mean.
    return np.median(values), np.sqrt(np.pi / 2 / len(values)) * scatter, scatter, len(values)
