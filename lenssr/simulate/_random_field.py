"""A Gaussian random field of mass: perturbations of a lens that are of no class."""

from dataclasses import dataclass

import numpy as np

from lenssr.simulate._cosmology import not_negative

__all__ = ["RandomField", "wave_deflection", "wave_mass"]


@dataclass(frozen=True)
class RandomField:
    """
    Prior of a random field of convergence in a lens: class ``random``.

    A sum of plane waves with wavelengths uniform in their logarithm, random directions and
    phases, which for many of them is a Gaussian field. Its amplitude and slope are drawn for each
    lens, so that no class of dark matter is in it: what is trained on such lenses has to take
    substructure from the data.

    Parameters
    ----------
    rms : tuple of float
        Range of the standard deviation of the convergence, log-uniform.
    wavelengths : tuple of float
        Range of wavelengths, arcsec.
    slope : tuple of float
        Range, uniform, of the power of the wave number with which the variance per logarithmic
        interval goes; 2 for white noise, such as point masses have.
    waves : int
        Number of waves.

    Raises
    ------
    ValueError
        If a range is none.
    """

    rms: tuple = (0.01, 0.3)
    wavelengths: tuple = (0.2, 2.0)
    slope: tuple = (0.0, 2.0)
    waves: int = 48

    name = "random"

    def __post_init__(self):
        for name in ("rms", "wavelengths"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"`{name}` must be two positive numbers, the lower one first, "
                                 f"got {getattr(self, name)!r}")
        low, high = self.slope
        if not low <= high:
            raise ValueError("`slope` must be two numbers, the lower one first, "
                             f"got {self.slope!r}")
        not_negative("waves", self.waves)

    def draw(self, rng, plane):
        """
        Draw the field of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.
        plane : `LensPlane`
            The lens.

        Returns
        -------
        facts : dict
            Empty: a field has no parts that a table could name.
        models, kwargs : list
            Lens models ``WAVE`` and their parameters.
        """
        rms = np.exp(rng.uniform(*np.log(self.rms)))
        slope = rng.uniform(*self.slope)
        length = np.exp(rng.uniform(*np.log(self.wavelengths), self.waves))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, self.waves))
        k = 2 * np.pi / length
        share = k ** (slope / 2)
        # Each wave of convergence c cos has a variance of c**2 / 2.
        convergence = rms * share * np.sqrt(2 / max(np.sum(share**2), 1e-300))
        kx, ky = k * np.cos(angle), k * np.sin(angle)
        x0, y0 = phase / k * np.cos(angle), phase / k * np.sin(angle)
        kwargs = [dict(amplitude=float(2 * c / n), k_x=float(a), k_y=float(b),
                       center_x=float(plane.x + x), center_y=float(plane.y + y))
                  for c, n, a, b, x, y in zip(convergence, k, kx, ky, x0, y0)]
        return {}, ["WAVE"] * self.waves, kwargs

    def ring_convergence(self, plane, facts):
        """Mean convergence on the Einstein ring over all fields: none."""
        return 0.0


def wave_deflection(x, y, kwargs):
    """Deflection by a plane wave of convergence ``amplitude k / 2 cos(k (x - x0))``."""
    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (x - kwargs["center_x"]) + ky * (y - kwargs["center_y"])
    alpha = kwargs["amplitude"] / np.hypot(kx, ky) * np.sin(phase)
    return kx * alpha, ky * alpha


def wave_mass(plane, kwargs):
    """Mass of a wave in the Einstein ring, as that ring's mean outward deflection (arcsec)."""
    from scipy.special import j1

    kx, ky = kwargs["k_x"], kwargs["k_y"]
    phase = kx * (plane.x - kwargs["center_x"]) + ky * (plane.y - kwargs["center_y"])
    return kwargs["amplitude"] * j1(np.hypot(kx, ky) * plane.theta_e) * np.cos(phase)
