"""Pair of images of one scene: as observed, and at the target resolution."""

from dataclasses import dataclass, field

from astropy.nddata import CCDData


@dataclass
class LensPair:
    """
    Pair of images of one scene.

    Parameters
    ----------
    lr : `~astropy.nddata.CCDData`
        Observed image with noise, uncertainty, effective PSF and WCS.
    hr : `~astropy.nddata.CCDData`
        Image at the target resolution on pixels ``scale`` times finer; noise-free if simulated.
    truth : dict
        Parameters of the scene and of the observation.

    Examples
    --------
    >>> from lenssr.simulate import simulate_pair
    >>> pair = simulate_pair(size=24)
    >>> pair.lr.shape, pair.hr.shape
    ((24, 24), (48, 48))
    """

    lr: CCDData
    hr: CCDData
    truth: dict = field(default_factory=dict)

    @property
    def scale(self):
        """Output pixels per input pixel."""
        return self.hr.shape[-1] // self.lr.shape[-1]
