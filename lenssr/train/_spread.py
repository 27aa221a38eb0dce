"""Calibration of a network that draws: by what the spread of its samples is to be multiplied."""

import warnings

import numpy as np

from lenssr.exceptions import LensSRWarning
from lenssr.image import expand_mask
from lenssr.methods import DEFAULT_SAMPLES, DataResidual, RunOptions, make_method, snr_map
from lenssr.train._conformal import calibrated, coverage
from lenssr.train._held import open_images
from lenssr.train._restored import features_in_order, features_of, in_pieces, usual

__all__ = ["SpreadRun"]


class SpreadRun:
    """The calibration of posterior samples."""

    def __init__(self, path, card, recipe, how, folder, team, progress):
        self.recipe, self.how, self.folder = recipe, how, folder
        self.team, self.progress, self.features = team, progress, []
        self.method = make_method(card.network["architecture"], card.scales[0], {
            "weights": path, "n_probes": how.n_probes, "calibrated": False,
            "keep_samples": False})

    def calibrate_scale(self, head, scale):
        """Factors and figures at a scale; there is no head."""
        images = open_images(self.recipe, scale, self.how, True, self.progress)
        arrays = in_pieces(images, self.folder / f"drawn-x{scale}",
                           lambda *one: self._draw(scale, *one), self.progress, "drawing")
        self.features += features_of(arrays)
        use = arrays["use"] > 0
        planes = arrays["error"], arrays["spread"], arrays["snr"]
        factors, _, shares = calibrated(*planes, use, scale)
        return {"factors": factors, "coverage": shares,
                "measurement": coverage(arrays["error"][use], arrays["std"][use],
                                        arrays["snr"][use]),
                "chi2": usual(arrays["chi2"])}

    def _draw(self, scale, index, image, truth):
        """Mean and spread of samples of an image, in noise units."""
        run = RunOptions(scale, str(self.team.device), n_samples=DEFAULT_SAMPLES, seed=index)
        with warnings.catch_warnings():
            # That there is no PSF, for one, is as it should be.
            warnings.simplefilter("ignore", LensSRWarning)
            found = self.method.restore(image, run)
            apply, _ = self.method.prepare(image, run)
        noise = image.noise
        return {"error": (found.mean - truth) / noise,
                "spread": found.predictive_std / noise, "std": found.measurement_std / noise,
                "snr": snr_map(apply, image, apply(image)),
                "use": ~expand_mask(image.mask, scale), "features": features_in_order(image),
                "chi2": np.nan if image.psf is None else DataResidual(image, scale).chi2(found.mean)}
