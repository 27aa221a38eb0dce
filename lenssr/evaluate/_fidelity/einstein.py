"""The part about lens models: the Einstein radius by the same fit on target, result and input."""

import numpy as np

from lenssr.evaluate._fidelity.lensfit import fit_lens, parameters
from lenssr.evaluate._fidelity.part import Part, make_table, middle
from lenssr.evaluate._fidelity.scenes import lenses
from lenssr.image import target_psf

__all__ = ["Einstein"]

FINE = 2         # points of the model to an output pixel and axis
PERTURBED = 0.02  # relative to the truth, or absolute where that may be zero
REFERENCES = "target", "input"


class Einstein(Part):
    """Einstein radii of fits to results, over those of fits to the targets."""

    groups = staticmethod(lenses)

    def references(self, samples):
        (sample,) = samples
        plane = sample.ready.plane
        images = (sample.pair.hr.data, target_psf(), 1), (plane.data, plane.psf, sample.scale)
        return {name: [_row(sample, *image)] for name, image in zip(REFERENCES, images)}

    def measure(self, restored):
        (one,) = restored
        if one.result.psf is None:
            return []
        return [_row(one.sample, one.image, one.result.psf, 1)]

    def tables(self, rows, rng):
        found, target = [], {line["index"]: line["radius"] for line in rows[REFERENCES[0]]}
        for label in (*REFERENCES, *(label for label in rows if label not in REFERENCES)):
            if not rows[label]:
                continue
            radius, true, hr = np.transpose([
                (line["radius"], line["true"], target[line["index"]]) for line in rows[label]])
            ratio, error, scatter, n = middle(radius / hr)
            found.append({"method": label, "n": n, "to_hr": ratio, "error": error,
                          "scatter": scatter, "to_truth": middle(radius / true)[0]})
        return {"einstein": make_table(found)}


def _row(sample, image, psf, step):
    """Einstein radius of a fit to an image whose pixels are ``step`` output pixels wide."""
    pixel = sample.pair.truth["instrument"].pixel_scale * step / sample.scale
    true = parameters(sample.pair.truth["scene"])
    # Near the truth, but not at it; from the same place for every image of the lens.
    start = true + PERTURBED * np.maximum(np.abs(true), 0.1) * sample.rng().standard_normal(13)
    found = fit_lens(np.asarray(image, dtype=float), psf, pixel, step * FINE, start)
    return {"index": sample.index, "radius": found[0], "true": true[0]}
