"""What there is in the sky: priors of lenses, sources and neighbours, and draws from them."""

from dataclasses import dataclass, field

import numpy as np

from ._cosmology import einstein_radius

__all__ = ["KINDS", "Population", "SceneModel"]

KINDS = ("lens", "subtracted", "quasar", "galaxy", "field", "empty")


@dataclass
class SceneModel:
    """
    Everything that is on a patch of sky, in lenstronomy's parameters.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    lens_models, lens_kwargs : list
        lenstronomy lens models and their parameters (arcsec), or ``LINE_MASS``, a
        uniform line from ``x1, y1`` to ``x2, y2`` of Einstein radius ``theta_E``.
    source_models, source_kwargs : list
        Light of the source, in the source plane (arcsec).
    light_models, light_kwargs : list
        Light that is not lensed: lens galaxy and neighbours (arcsec).
    points : list of tuple
        Unlensed point sources ``(x, y, flux)``: stars in the field (arcsec).
    quasar : dict or None
        Lensed point source: ``x``, ``y`` in the source plane (arcsec), its
        intrinsic ``flux`` and the ``flicker`` of each image in magnitudes.
    z_lens, z_source : float or None
        Redshifts, where they are known.
    substructure : `Substructure` or None
        Dark substructure of the lens; its lens models are among the others.
    """

    kind: str
    lens_models: list = field(default_factory=list)
    lens_kwargs: list = field(default_factory=list)
    source_models: list = field(default_factory=list)
    source_kwargs: list = field(default_factory=list)
    light_models: list = field(default_factory=list)
    light_kwargs: list = field(default_factory=list)
    points: list = field(default_factory=list)
    quasar: dict | None = None
    z_lens: float | None = None
    z_source: float | None = None
    substructure: object | None = None


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _ellipticity(rng, spread=0.15, limit=0.4):
    e1, e2 = rng.normal(0, spread, 2)
    shrink = min(1.0, limit / max(np.hypot(e1, e2), 1e-12))
    return float(e1 * shrink), float(e2 * shrink)


def sersic(x, y, flux, radius, index, e1=0.0, e2=0.0):
    """Parameters of a lenstronomy ``SERSIC_ELLIPSE`` of unit-free total ``flux``."""
    from scipy.special import gamma

    # Ciotti & Bertin (1999A&A...352..447C), eq. 18; flux to infinity in closed form.
    b = 2 * index - 1 / 3 + 4 / (405 * index)
    total = 2 * np.pi * index * radius**2 * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    return dict(amp=flux / total, R_sersic=radius, n_sersic=index, e1=e1, e2=e2,
                center_x=x, center_y=y)


@dataclass(frozen=True)
class Population:
    """
    Priors of the scenes; every draw is a `SceneModel`.

    Parameters
    ----------
    theta_e : tuple of float
        Range of Einstein radii, arcsec.
    gamma : tuple of float
        Range of logarithmic slopes of the elliptical power-law mass profile.
    shear : float
        Standard deviation of each component of the external shear.
    source_radius : tuple of float
        Range of half-light radii of the source, arcsec, log-uniform.
    lens_radius : tuple of float
        Range of half-light radii of the lens galaxy, arcsec.
    arc_to_lens : tuple of float
        Range of the flux of the unlensed source over that of the lens galaxy.
    half_width : float
        Half the side of the field over which neighbours are spread, arcsec.
    kinds : tuple of float
        Probabilities of `KINDS`: lens galaxy with arcs; the same with the
        light of the lens subtracted, residuals left; lensed quasar with host;
        galaxy without arcs; field of neighbours and stars; empty sky.
    z_lens, z_source : tuple of float
        Ranges of redshifts; a source is drawn from the part of its range that lies
        behind its lens.
    sigma_v : tuple of float, optional
        Range of velocity dispersions, km/s: the Einstein radius is then that of an
        isothermal sphere at these redshifts, in place of ``theta_e``.

    Raises
    ------
    ValueError
        If redshifts or velocities are impossible.
    """

    theta_e: tuple = (0.5, 2.2)
    gamma: tuple = (1.8, 2.25)
    shear: float = 0.04
    source_radius: tuple = (0.06, 0.4)
    lens_radius: tuple = (0.3, 1.3)
    arc_to_lens: tuple = (0.02, 1.0)
    half_width: float = 3.8
    kinds: tuple = (0.38, 0.24, 0.15, 0.11, 0.09, 0.03)
    z_lens: tuple = (0.5, 0.5)
    z_source: tuple = (1.0, 1.0)
    sigma_v: tuple | None = None

    def __post_init__(self):
        for name in ("z_lens", "z_source") + (("sigma_v",) if self.sigma_v else ()):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"`{name}` must be two positive numbers, the lower one first, "
                                 f"got {getattr(self, name)!r}")
        if self.z_source[1] <= self.z_lens[1]:
            raise ValueError(f"`z_source` must reach beyond `z_lens` {self.z_lens!r}, "
                             f"got {self.z_source!r}")

    def redshifts(self, rng):
        """
        Draw the redshifts of a lens and its source.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        z_lens, z_source : float
            The source is behind the lens.
        """
        z_lens = float(rng.uniform(*self.z_lens))
        low, high = self.z_source
        # From the far end, which is not drawn itself: never the redshift of the lens.
        return z_lens, float(high - rng.random() * (high - max(low, z_lens)))

    def draw(self, rng):
        """
        Draw one scene.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        scene : `SceneModel`
            The scene; total flux of the lens galaxy is of order one.
        """
        scene = SceneModel(KINDS[rng.choice(len(KINDS), p=self.kinds)])
        center = rng.uniform(-0.3, 0.3, 2)
        e1, e2 = _ellipticity(rng)
        if scene.kind in ("lens", "subtracted", "quasar"):
            self._add_mass(scene, rng, center, e1, e2)
            self._add_source(scene, rng, center)
        with_light = scene.kind != "quasar" or rng.random() < 0.6
        if scene.kind not in ("field", "empty") and with_light:
            self._add_lens_light(scene, rng, center, e1, e2)
        if scene.kind == "field" or (scene.kind != "empty" and rng.random() < 0.35):
            self._add_neighbours(scene, rng, at_least=int(scene.kind == "field"))
        return scene

    def _add_mass(self, scene, rng, center, e1, e2):
        if self.sigma_v is None:
            theta_e = float(rng.uniform(*self.theta_e))
        else:
            scene.z_lens, scene.z_source = self.redshifts(rng)
            theta_e = einstein_radius(rng.uniform(*self.sigma_v), scene.z_lens,
                                      scene.z_source).value.item()
        scene.lens_models = ["EPL", "SHEAR"]
        scene.lens_kwargs = [
            dict(theta_E=theta_e, gamma=float(rng.uniform(*self.gamma)), e1=e1, e2=e2,
                 center_x=float(center[0]), center_y=float(center[1])),
            dict(gamma1=float(rng.normal(0, self.shear)), gamma2=float(rng.normal(0, self.shear)),
                 ra_0=0.0, dec_0=0.0)]

    def _add_source(self, scene, rng, center):
        theta_e = scene.lens_kwargs[0]["theta_E"]
        angle, distance = rng.uniform(0, 2 * np.pi), 0.7 * theta_e * np.sqrt(rng.random())
        x, y = center + distance * np.array([np.cos(angle), np.sin(angle)])
        flux = _log_uniform(rng, *self.arc_to_lens)
        radius = _log_uniform(rng, *self.source_radius)
        clumps = [(x, y, flux, radius, rng.uniform(0.5, 3.0))]
        if rng.random() < 0.5:
            for _ in range(rng.integers(1, 6)):
                dx, dy = rng.normal(0, radius, 2)
                clumps.append((x + dx, y + dy, flux * rng.uniform(0.03, 0.4),
                               radius * rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)))
        for cx, cy, part, size, index in clumps:
            scene.source_models.append("SERSIC_ELLIPSE")
            scene.source_kwargs.append(sersic(cx, cy, part, size, index, *_ellipticity(rng, 0.2)))
        if scene.kind == "quasar":
            scene.quasar = dict(x=x, y=y, flux=flux * _log_uniform(rng, 1.0, 50.0),
                                flicker=rng.normal(0, 0.3, 9))

    def _add_lens_light(self, scene, rng, center, e1, e2):
        twist = rng.normal(0, 0.04, 2)
        radius, index = rng.uniform(*self.lens_radius), rng.uniform(1.5, 4.5)
        shape = dict(e1=e1 + twist[0], e2=e2 + twist[1])
        model = [(1.0, sersic(*center, 1.0, radius, index, **shape))]
        if scene.kind == "subtracted":
            # What a fit leaves: the difference of two nearly equal profiles, of both signs.
            if rng.random() < 0.3:
                model = []
            else:
                moved = center + rng.normal(0, 0.01, 2)
                error = rng.normal(0, [0.01, 0.03, 0.03])
                model.append((-1.0, sersic(*moved, 1.0 + error[0], radius * (1 + error[1]),
                                           index * (1 + error[2]), **shape)))
        for sign, kwargs in model:
            scene.light_models.append("SERSIC_ELLIPSE")
            scene.light_kwargs.append({**kwargs, "amp": sign * kwargs["amp"]})

    def _add_neighbours(self, scene, rng, at_least=0):
        for _ in range(max(at_least, rng.poisson(1.5))):
            x, y = rng.uniform(-self.half_width, self.half_width, 2)
            flux = _log_uniform(rng, 0.01, 1.0)
            if rng.random() < 0.25:
                scene.points.append((float(x), float(y), flux))
            else:
                scene.light_models.append("SERSIC_ELLIPSE")
                scene.light_kwargs.append(sersic(
                    x, y, flux, _log_uniform(rng, 0.08, 0.6), rng.uniform(0.7, 4.0),
                    *_ellipticity(rng, 0.2)))
