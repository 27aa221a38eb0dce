"""Fidelity tests of flux, astrometry, power spectrum, coverage and consistency."""

import numpy as np
from scipy.signal.windows import tukey

from lenssr.evaluate._fidelity._base import (
    BRIGHT_SNR,
    SNR_EDGES,
    FidelityTest,
    make_table,
    robust_statistics,
    snr_bins,
)
from lenssr.evaluate._metrics import FREQUENCIES, radial_power, transfer_function
from lenssr.methods import DataResidual
from lenssr.uncertainty import SNR_BINS, local_snr, snr_bin

APERTURE_RADII = (2, 3, 5, 7, 10)  # output pixels
"""Radii of the apertures, output pixels."""

MIN_NET_FLUX = 0.5  # net flux over absolute flux of an object


def circles(positions, radius):
    """Return circular apertures of one radius at positions ``x, y``, shape ``(n, 2)``."""
    from photutils.aperture import CircularAperture

    return CircularAperture(np.atleast_2d(positions), radius)


def flux_ratio(image, truth, mask, position=None, radius=None):
    """Compute flux over true flux in an aperture, or over all valid pixels."""
    def flux(of):
        if radius is None:
            return of[~mask].sum()
        return circles(position, radius).do_photometry(of, mask=mask)[0][0]

    true = flux(truth)
    return float(flux(image) / true) if true > MIN_NET_FLUX * flux(np.abs(truth)) else np.nan


SHIFT_UPSAMPLING = 500  # steps per pixel of the phase correlation
TAPER_FRACTION = 0.1  # of the image side that is tapered at each edge


def measure_shift(image, truth):
    """
    Measure the shift ``x, y`` in pixels of an image against the truth.

    The shift maximises the cross-correlation, to 0.002 pixels (Guizar-Sicairos et al. 2008,
    doi:10.1364/OL.33.000156).
    """
    from skimage.registration import phase_cross_correlation

    fade = np.outer(*(tukey(n, 2 * TAPER_FRACTION) for n in truth.shape))
    first, two = (fade * (values - np.median(values)) for values in (image, truth))
    if not (first.any() and two.any()):
        return np.full(2, np.nan)
    # Do not whiten the spectra: noise would dominate on the finest scales.
    return -phase_cross_correlation(two, first, upsample_factor=SHIFT_UPSAMPLING,
                                    normalization=None)[0][::-1]


class Flux(FidelityTest):
    """Test of the flux over the true flux, in the image and in apertures on its brightest pixel."""

    uses_pairs = True

    def measure(self, restored):
        (restored_pair,) = restored
        sample, planes = restored_pair.sample, (restored_pair.image, restored_pair.sample.truth,
                                                restored_pair.sample.mask)
        row = {0: flux_ratio(*planes)}
        row |= {r: flux_ratio(*planes, sample.brightest, r) for r in APERTURE_RADII}
        return [{"snr": sample.snr, **row}]

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            for radius in (0, *APERTURE_RADII):
                values = np.array([line[radius] for line in lines])
                for low, high, where in snr_bins([line["snr"] for line in lines]):
                    ratio, error, scatter, n = robust_statistics(values[where])
                    table_rows.append({"method": label, "aperture": radius, "snr_low": low,
                                       "snr_high": high, "n": n, "ratio": ratio, "error": error,
                                       "scatter": scatter})
        return {"flux": make_table(table_rows)}


class Shift(FidelityTest):
    """Test of the astrometric shift of the image."""

    uses_pairs = True

    def measure(self, restored):
        (restored_pair,) = restored
        return [{"snr": restored_pair.sample.snr,
                 "shift": measure_shift(restored_pair.image, restored_pair.sample.truth)}]

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            shifts = np.array([line["shift"] for line in lines])
            for low, high, where in snr_bins([line["snr"] for line in lines]):
                (dx, ex, sx, n), (dy, ey, sy, _) = (robust_statistics(s) for s in shifts[where].T)
                table_rows.append({
                    "method": label, "snr_low": low, "snr_high": high, "n": n, "dx": dx,
                    "dx_error": ex, "dx_scatter": sx, "dy": dy, "dy_error": ey, "dy_scatter": sy,
                    "length": robust_statistics(np.hypot(*shifts[where].T))[0]})
        return {"shift": make_table(table_rows)}


class Transfer(FidelityTest):
    """Test of power and phase by spatial frequency; images have equal weight."""

    uses_pairs = True

    def measure(self, restored):
        (restored_pair,) = restored
        power = radial_power(restored_pair.image, restored_pair.sample.truth)
        total = power[1].sum()
        return [{"snr": restored_pair.sample.snr, "power": power / total}] if total > 0 else []

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            for min_snr in (SNR_EDGES[0], BRIGHT_SNR):
                power = [line["power"] for line in lines if line["snr"] >= min_snr]
                t, r = transfer_function(np.sum(power, axis=0)) if power else 2 * [
                    np.full(len(FREQUENCIES), np.nan)]
                table_rows += [{"method": label, "snr_low": min_snr, "n": len(power), "k": k,
                                "transfer": t_k, "correlation": r_k}
                               for k, t_k, r_k in zip(FREQUENCIES, t, r)]
        return {"transfer": make_table(table_rows)}


N_COVERAGE_RESAMPLES = 200  # bootstrap samples


def count_within(difference, sigma):
    """Count the differences within 1 and 2 standard deviations, and all differences."""
    off = np.abs(difference)
    return np.array([(off <= sigma).sum(), (off <= 2 * sigma).sum(), off.size])


def coverage_fractions(counts, rng):
    """Compute the coverage of many images and its bootstrap error."""
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts[:, 2] > 0]
    if not len(counts):
        return np.full(2, np.nan), np.full(2, np.nan)
    fractions = counts[:, :2].sum(axis=0) / counts[:, 2].sum()
    if len(counts) < 2:
        return fractions, np.full(2, np.nan)
    drawn = counts[rng.integers(len(counts), size=(N_COVERAGE_RESAMPLES, len(counts)))].sum(axis=1)
    return fractions, np.std(drawn[:, :2] / drawn[:, 2:], axis=0, ddof=1)


RADIUS_BINS = {"0-0.25": 0.25, "0.25-0.5": 0.5, "0.5-0.75": 0.75, "0.75-1": 1, "corners": np.inf}
N_APERTURES = 8  # random apertures in an image


class Coverage(FidelityTest):
    """Test of the coverage of the predicted errors within 1 and 2 standard deviations."""

    uses_pairs, errors = True, True

    def measure(self, restored):
        (restored_pair,) = restored
        sample = restored_pair.sample
        sigma = np.sqrt(restored_pair.sigma**2 + sample.truth_noise**2)
        counts = {}
        for split, names in _pixel_bins(restored_pair).items():
            for name in np.unique(names[~sample.mask]):
                where = ~sample.mask & (names == name)
                counts[split, str(name)] = count_within(restored_pair.difference[where],
                                                        sigma[where])
        apertures, errors = _apertures(restored_pair)
        return [{"pixels": counts, "apertures": apertures, "errors": errors}]

    def tables(self, rows, rng):
        pixels, apertures = [], []
        for label, lines in rows.items():
            table_rows = {}
            for line in lines:
                for key, counts in line["pixels"].items():
                    table_rows.setdefault(key, []).append(counts)
            for split, name in sorted(table_rows, key=_order):
                pixels.append({"method": label, "split": split, "bin": name,
                               **_row("pixels", table_rows[split, name], rng)})
            for radius in APERTURE_RADII:
                counts = [line["apertures"][radius] for line in lines]
                apertures.append({"method": label, "aperture": radius,
                                  **_row("n", counts, rng), "errors": lines[0]["errors"]})
        return {"coverage": make_table(pixels), "apertures": make_table(apertures)}


def _row(size, counts, rng):
    """Return the coverage columns of a table row."""
    fractions, errors = coverage_fractions(counts, rng)
    return {size: int(np.sum(counts, axis=0)[2]), "within_1": fractions[0],
            "within_1_error": errors[0], "within_2": fractions[1], "within_2_error": errors[1]}


def _pixel_bins(restored_pair):
    """Return the bin names of each pixel for every binning."""
    sample = restored_pair.sample
    local = local_snr(restored_pair.image, sample.level, sample.noise)
    y, x = np.indices(local.shape)
    ny, nx = local.shape
    radius = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2) / (min(ny, nx) / 2)
    splits = {"all": np.full(local.shape, "all")}
    rings = np.digitize(radius, list(RADIUS_BINS.values())[:-1])
    for split, bins, names in (("snr", snr_bin(local), SNR_BINS), ("radius", rings, RADIUS_BINS)):
        splits[split] = np.array(list(names))[bins]
    if sample.kind:
        splits["kind"] = np.full(local.shape, sample.kind)
    return splits


def _order(key):
    split, name = key
    known = [*SNR_BINS, *RADIUS_BINS]
    return (("all", "snr", "radius", "kind").index(split),
            known.index(name) if name in known else 0, name)


def _apertures(restored_pair):
    """Measure the coverage of aperture fluxes by radius, for apertures without masked pixels."""
    sample, rng = restored_pair.sample, restored_pair.sample.rng()
    ny, nx = sample.truth.shape
    counts = {}
    for radius in APERTURE_RADII:
        anywhere = radius + rng.random((N_APERTURES, 2)) * (np.array([nx, ny]) - 1 - 2 * radius)
        apertures = circles(np.vstack([sample.brightest, anywhere]), radius)
        masked, _ = apertures.do_photometry(sample.mask.astype(float))
        # `do_photometry` omits the part of an aperture outside the image.
        use = masked == 0
        true = apertures.do_photometry(sample.truth)[0]
        flux, error, source = _aperture_fluxes(restored_pair, apertures)
        error = np.hypot(error, sample.truth_noise * np.sqrt(apertures.area))
        counts[radius] = count_within((flux - true)[use], error[use])
    return counts, source


def _aperture_fluxes(restored_pair, apertures):
    """Measure aperture fluxes and errors, with the error correlation if the result has one."""
    try:
        return *(quantity.value
                 for quantity in restored_pair.result.aperture_sum(apertures)), "aperture_sum"
    except ValueError:  # error of unknown correlation
        pass
    return *apertures.do_photometry(restored_pair.image, error=restored_pair.sigma), "quadrature"


MAX_CHI2_DEVIATION = 0.1  # deviation of the reduced chi-squared from one


class Consistency(FidelityTest):
    """Test of the reduced chi-squared of results and truth against the data."""

    uses_pairs = True

    def references(self, samples):
        (pair,) = samples
        plane = pair.ready.plane
        if plane.psf is None:
            return {}
        chi2 = DataResidual(plane, pair.scale).chi2(pair.truth * pair.ready.span)
        return {"truth": [{"snr": pair.snr, "chi2": chi2}]}

    def measure(self, restored):
        (restored_pair,) = restored
        return [{"snr": restored_pair.sample.snr,
                 "chi2": restored_pair.result.header.get("SRCHI2", np.nan)}]

    def tables(self, rows, rng):
        table_rows = []
        for label, lines in rows.items():
            snr, chi2 = (np.array([line[key] for line in lines], float) for key in ("snr", "chi2"))
            known = np.isfinite(chi2)
            if not known.any():
                continue
            for low, high, where in ((0.0, np.inf, known), *snr_bins(snr)):
                values = chi2[where & known]
                median, error, scatter, n = robust_statistics(values)
                near, above = ((np.mean(np.abs(values - 1) <= MAX_CHI2_DEVIATION),
                                np.mean(values > 1 + MAX_CHI2_DEVIATION))
                               if n else (np.nan, np.nan))
                table_rows.append({"method": label, "snr_low": low, "snr_high": high, "n": n,
                                   "chi2": median, "error": error, "scatter": scatter, "near": near,
                                   "above": above})
        return {"consistency": make_table(table_rows)}
