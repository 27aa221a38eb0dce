"""The maps that a page shows, and what is to be said of each."""

from dataclasses import dataclass

import numpy as np

from lenssr.evaluate._report._checks import data_residual
from lenssr.image import expand_mask

__all__ = ["Layer", "layers_of"]

CALIBRATION = {"measurement": "what the noise of the data does to it, and not the whole error",
               "predictive": "how far it may be from the truth, on images like those that its "
                             "card names"}
"""What is said of an uncertainty by its card SRCALIB."""


@dataclass
class Layer:
    """A map."""

    name: str
    about: str
    values: np.ndarray
    group: str
    unit: str
    repeat: int = 1
    factor: float = 1.0
    key: str = ""


def layers_of(subject, window):
    """The maps of a `Subject`."""
    layers = [*_images(subject), *_errors(subject), *_maps(subject)]
    for k, layer in enumerate(layers):
        layer.key = f"map{k}"
        layer.values = window.cut(layer.values, layer.repeat)
    return layers


def _images(subject):
    image, scale, unit = subject.image, subject.scale, _text(subject.unit)
    per = "" if subject.share == 1 else " per input pixel"
    drawn = per and ", drawn in what is left for an output pixel, as the others are"
    yield Layer("Input", f"What the telescope saw, each pixel as {scale} × {scale}{drawn}.",
                np.where(image.mask, np.nan, image.data), "flux", unit + per, scale, subject.share)
    for k, result in enumerate(subject.results):
        name = f"Result, {result.name}" if k == 0 else result.name
        yield Layer(name, f"Restored by {result.name}." if k == 0 else "For comparison.",
                    result.values, "flux", unit)
    if subject.truth is not None:
        yield Layer("Truth", "What the result ought to be.", subject.truth, "flux", unit)


def _errors(subject):
    if subject.truth is not None:
        noise = expand_mask(subject.image.sigma * subject.share, subject.scale)
        for result in subject.results:
            yield Layer(f"{result.name} − truth",
                        "In units of the noise of the input, per area: the same for all methods.",
                        (result.values - subject.truth) / noise, "sigma", "σ")
    for result in subject.results:
        residual = data_residual(subject, result)
        if residual is not None:
            yield Layer(f"Input − {result.name}",
                        "The result brought back to the resolution and the pixels of the input: "
                        "what the data say against it, in units of their noise.",
                        residual, "sigma", "σ", subject.scale)


def _maps(subject):
    result, unit = subject.result, _text(subject.unit)
    own, measured = (result.maps.get(key) for key in ("uncertainty", "measurement_std"))
    if own is not None:
        kind = str(result.header.get("SRCALIB", "unknown"))
        yield Layer("Uncertainty", "Standard deviation of the result's error: "
                    f"{CALIBRATION.get(kind, f'SRCALIB says {kind!r}')}.", own, "std", unit)
    if measured is not None and (own is None or not np.allclose(own, measured, equal_nan=True)):
        yield Layer("Measurement error", "What the noise of the data alone gives each pixel.",
                    measured, "std", unit)
    if (prior := result.maps.get("prior_std")) is not None:
        yield Layer("Prior error", "What the data do not determine, and the prior filled in.",
                    prior, "std", unit)
    if (chi2 := result.maps.get("consistency")) is not None:
        repeat = subject.scale if chi2.shape == subject.image.shape else 1
        yield Layer("Consistency", "Reduced χ² of the result, brought back to the data: one "
                    "where it explains them.", chi2, "chi2", "χ² per datum", repeat)
    if subject.prior is not None:
        yield Layer("Prior share", "Share of each value that the data do not determine: 0 is "
                    "measured, 1 is imagined.", subject.prior, "share", "share")


def _text(unit):
    return "" if unit is None else str(unit)
