"""How much better than interpolation each method was, image by image."""

import numpy as np

from lenssr.evaluate._benchmark_table import decibels

__all__ = ["gains_figure"]

LEFT_OUT = ("bilinear", "truth", "constant")
INNER, OUTER = (25, 75), (5, 95)  # percentiles


def gains_figure(images):
    """The figure, and in words what it shows."""
    from matplotlib.figure import Figure

    gains = _gains(images)
    figure = Figure(figsize=(8, 1.1 + 0.32 * len(gains)), layout="constrained")
    axis = figure.subplots()
    for place, gain in enumerate(gains.values()):
        axis.plot(np.percentile(gain, OUTER), (place, place), color="C0", lw=1)
        axis.plot(np.percentile(gain, INNER), (place, place), color="C0", lw=5)
        axis.plot(np.median(gain), place, "o", color="white", mec="C0", ms=6)
        axis.plot(gain.min(), place, "|", color="C1", ms=8, mew=2)
    axis.axvline(0, color="k", lw=0.8)
    axis.set_yticks(range(len(gains)), list(gains))
    axis.invert_yaxis()
    axis.grid(axis="x", lw=0.3)
    axis.set_xlabel("PSNR above bilinear interpolation of the same image / dB")
    medians = ", ".join(f"{name} {np.median(gain):+.2f}" for name, gain in gains.items())
    return figure, ("Gain over bilinear interpolation: of half of the images (thick), of nine "
                    f"tenths (thin), of the worst (orange). Medians in dB: {medians}.")


def _gains(images):
    """Gains over all images, and runs, by method."""
    column = "truth_mse" if "truth_mse" in images.colnames else "target_mse"
    method = np.asarray(images["method"])
    plain = images[method == "bilinear"]
    least = dict(zip(plain["pair"], decibels(np.asarray(plain[column], dtype=float))))
    gains = {}
    for name in dict.fromkeys(method.tolist()):
        if name not in LEFT_OUT:
            rows = images[method == name]
            found = decibels(np.asarray(rows[column], dtype=float)) - [
                least[pair] for pair in rows["pair"]]
            if np.isfinite(found).any():
                gains[name] = found[np.isfinite(found)]
    return gains
