"""Pair of images of one scene: as observed, and at the target resolution."""

from dataclasses import dataclass, field

from astropy.nddata import CCDData


@dataclass
class LensPair:
    """
    Two images of one scene.

    Attributes
    ----------
    lr : `~astropy.nddata.CCDData`
        As observed: noisy, with uncertainty, effective PSF and WCS.
    hr : `~astropy.nddata.CCDData`
        At the target resolution, on pixels ``scale`` times finer, noise-free if it
        is simulated.
    truth : dict
        What is known of the scene and of the observation.
    """

    lr: CCDData
    hr: CCDData
    truth: dict = field(default_factory=dict)

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.hr.shape[-1] // self.lr.shape[-1]
