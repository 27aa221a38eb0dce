"""Methods, as `lenssr.superresolve` runs them."""

import numpy as np
from astropy.nddata import StdDevUncertainty

from lenssr import superresolve
from lenssr.evaluate._entrants import check_scale, weight_files
from lenssr.evaluate._fidelity.samples import Restored
from lenssr.evaluate._notes import Notes
from lenssr.image import widened_psf
from lenssr.methods import make_method

__all__ = ["Restorer"]


class Restorer:
    """All methods that take part."""

    def __init__(self, names, weights, scale, device=None, told_psf=1.0, told_noise=1.0):
        self.scale, self.device = scale, device
        self.told_psf, self.told_noise = told_psf, told_noise
        self.methods, self.not_run, self.notes = {}, {}, Notes()
        for name in names:
            self._enter(name, name, {})
        for label, file, card in weight_files(weights, names):
            try:
                check_scale(card, scale)
            except ValueError as err:
                self.not_run[label] = str(err)
                continue
            self._enter(self._free(label), card.network["architecture"], {"weights": file})

    def _free(self, label):
        """A label for weights of one more seed of the same network."""
        count = sum(known.split("#")[0] == label for known in self.methods)
        return f"{label}#{count + 1}" if count else label

    def _enter(self, label, method, options):
        try:
            made = make_method(method, self.scale, options)
        except ValueError as err:
            self.not_run[label] = str(err)
            return
        self.methods[label] = method, options, hasattr(made, "n_probes")

    def __call__(self, sample, label, errors=True):
        """Restore a sample."""
        method, options, probes = self.methods[label]
        if probes and not errors:
            options = {**options, "n_probes": 1}
        per_pixel = sample.ready.span != 1
        try:
            with self.notes.taken(label, sample.number):
                result = superresolve(
                    sample.pair.lr, method, scale=self.scale, device=self.device,
                    flux="per-pixel" if per_pixel else "surface-brightness",
                    **self._told(sample), **options)
            if not np.isfinite(result.data).all():
                raise ValueError("the result has values that are not finite")
        except ValueError as err:
            del self.methods[label]
            self.not_run[label] = f"{err} (at image {sample.number})"
            return None
        return Restored(sample, result)

    def _told(self, sample):
        """PSF and uncertainty that are told in place of those that the input carries."""
        told, lr = {"psf": sample.psf}, sample.pair.lr
        if self.told_psf != 1:
            if sample.ready.plane.psf is None:
                raise ValueError("`told_psf` must be 1 for pairs without a PSF, got "
                                 f"{self.told_psf}")
            told["psf"] = widened_psf(sample.ready.plane.psf, self.told_psf)
        if self.told_noise != 1:
            if lr.uncertainty is None:
                raise ValueError("`told_noise` must be 1 for pairs without an uncertainty, got "
                                 f"{self.told_noise}")
            sigma = lr.uncertainty.represent_as(StdDevUncertainty).array
            told["uncertainty"] = StdDevUncertainty(self.told_noise * sigma)
        return told
