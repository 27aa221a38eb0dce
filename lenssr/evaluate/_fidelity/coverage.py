"""The part about error bars: how many pixels and apertures they cover."""

import numpy as np

from lenssr.evaluate._fidelity.covers import count_within, shares
from lenssr.evaluate._fidelity.fluxes import RADII, circles
from lenssr.evaluate._fidelity.part import Part, make_table
from lenssr.uncertainty import SNR_BINS, local_snr, snr_bin

__all__ = ["Coverage"]

RINGS = {"0-0.25": 0.25, "0.25-0.5": 0.5, "0.5-0.75": 0.75, "0.75-1": 1, "corners": np.inf}
PLACES = 8  # of apertures in an image, beside its brightest pixel


class Coverage(Part):
    """Shares of truths within one and two of the declared standard deviations."""

    given, errors = True, True

    def measure(self, restored):
        (one,) = restored
        sample = one.sample
        sigma = np.sqrt(one.sigma**2 + sample.truth_noise**2)
        counts = {}
        for split, names in _splits(one).items():
            for name in np.unique(names[~sample.mask]):
                where = ~sample.mask & (names == name)
                counts[split, str(name)] = count_within(one.difference[where], sigma[where])
        apertures, errors = _apertures(one)
        return [{"pixels": counts, "apertures": apertures, "errors": errors}]

    def tables(self, rows, rng):
        pixels, apertures = [], []
        for label, lines in rows.items():
            found = {}
            for line in lines:
                for key, counts in line["pixels"].items():
                    found.setdefault(key, []).append(counts)
            for split, name in sorted(found, key=_order):
                pixels.append({"method": label, "split": split, "bin": name,
                               **_row("pixels", found[split, name], rng)})
            for radius in RADII:
                counts = [line["apertures"][radius] for line in lines]
                apertures.append({"method": label, "aperture": radius,
                                  **_row("n", counts, rng), "errors": lines[0]["errors"]})
        return {"coverage": make_table(pixels), "apertures": make_table(apertures)}


def _row(size, counts, rng):
    """Columns of the shares of a list of `count_within`, the number of all called ``size``."""
    found, errors = shares(counts, rng)
    return {size: int(np.sum(counts, axis=0)[2]), "within_1": found[0],
            "within_1_error": errors[0], "within_2": found[1], "within_2_error": errors[1]}


def _splits(one):
    """For each way to divide the pixels, the name of the bin of each."""
    sample = one.sample
    local = local_snr(one.image, sample.level, sample.noise)
    y, x = np.indices(local.shape)
    ny, nx = local.shape
    radius = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2) / (min(ny, nx) / 2)
    splits = {"all": np.full(local.shape, "all")}
    rings = np.digitize(radius, list(RINGS.values())[:-1])
    for split, bins, names in (("snr", snr_bin(local), SNR_BINS), ("radius", rings, RINGS)):
        splits[split] = np.array(list(names))[bins]
    if sample.kind:
        splits["kind"] = np.full(local.shape, sample.kind)
    return splits


def _order(key):
    split, name = key
    known = [*SNR_BINS, *RINGS]
    return (("all", "snr", "radius", "kind").index(split),
            known.index(name) if name in known else 0, name)


def _apertures(one):
    """Counts by radius, of apertures without a masked pixel, and where the errors are from."""
    sample, rng = one.sample, one.sample.rng()
    ny, nx = sample.truth.shape
    counts = {}
    for radius in RADII:
        anywhere = radius + rng.random((PLACES, 2)) * (np.array([nx, ny]) - 1 - 2 * radius)
        apertures = circles(np.vstack([sample.brightest, anywhere]), radius)
        masked, _ = apertures.do_photometry(sample.mask.astype(float))
        # A part of an aperture that is beyond the frame is not in its sum.
        use = masked == 0
        true = apertures.do_photometry(sample.truth)[0]
        flux, error, source = _sums(one, apertures)
        error = np.hypot(error, sample.truth_noise * np.sqrt(apertures.area))
        counts[radius] = count_within((flux - true)[use], error[use])
    return counts, source


def _sums(one, apertures):
    """Fluxes and their errors, by the result itself if it knows how its errors correlate."""
    try:
        return *(each.value for each in one.result.aperture_sum(apertures)), "aperture_sum"
    except ValueError:  # the method did not tell
        pass
    return *apertures.do_photometry(one.image, error=one.sigma), "quadrature"
