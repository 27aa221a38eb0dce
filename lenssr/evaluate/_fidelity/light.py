"""Parts about light: how much of it there is, where it is, and at which scales."""

import numpy as np

from lenssr.evaluate._fidelity.fluxes import RADII, flux_ratio
from lenssr.evaluate._fidelity.part import BRIGHT, SNR_EDGES, Part, make_table, middle, snr_bins
from lenssr.evaluate._fidelity.shifts import measure_shift
from lenssr.evaluate._power_spectrum import FREQUENCIES, radial_power, transfer_function

__all__ = ["Flux", "Shift", "Transfer"]


class Flux(Part):
    """Flux over true flux, of the whole image and in apertures around its brightest pixel."""

    given = True

    def measure(self, restored):
        (one,) = restored
        sample, facts = one.sample, (one.image, one.sample.truth, one.sample.mask)
        row = {0: flux_ratio(*facts)}
        row |= {r: flux_ratio(*facts, sample.brightest, r) for r in RADII}
        return [{"snr": sample.snr, **row}]

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            for radius in (0, *RADII):
                values = np.array([line[radius] for line in lines])
                for low, high, where in snr_bins([line["snr"] for line in lines]):
                    ratio, error, scatter, n = middle(values[where])
                    found.append({"method": label, "aperture": radius, "snr_low": low,
                                  "snr_high": high, "n": n, "ratio": ratio, "error": error,
                                  "scatter": scatter})
        return {"flux": make_table(found)}


class Shift(Part):
    """Shift of the whole image."""

    given = True

    def measure(self, restored):
        (one,) = restored
        return [{"snr": one.sample.snr, "shift": measure_shift(one.image, one.sample.truth)}]

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            shifts = np.array([line["shift"] for line in lines])
            for low, high, where in snr_bins([line["snr"] for line in lines]):
                (dx, ex, sx, n), (dy, ey, sy, _) = (middle(s) for s in shifts[where].T)
                found.append({
                    "method": label, "snr_low": low, "snr_high": high, "n": n, "dx": dx,
                    "dx_error": ex, "dx_scatter": sx, "dy": dy, "dy_error": ey, "dy_scatter": sy,
                    "length": middle(np.hypot(*shifts[where].T))[0]})
        return {"shift": make_table(found)}


class Transfer(Part):
    """Power and phase by spatial frequency, images of equal power having equal weight."""

    given = True

    def measure(self, restored):
        (one,) = restored
        power = radial_power(one.image, one.sample.truth)
        total = power[1].sum()
        return [{"snr": one.sample.snr, "power": power / total}] if total > 0 else []

    def tables(self, rows, rng):
        found = []
        for label, lines in rows.items():
            for least in (SNR_EDGES[0], BRIGHT):
                power = [line["power"] for line in lines if line["snr"] >= least]
                t, r = transfer_function(np.sum(power, axis=0)) if power else 2 * [
                    np.full(len(FREQUENCIES), np.nan)]
                found += [{"method": label, "snr_low": least, "n": len(power), "k": k,
                           "transfer": t_k, "correlation": r_k}
                          for k, t_k, r_k in zip(FREQUENCIES, t, r)]
        return {"transfer": make_table(found)}
