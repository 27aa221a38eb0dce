"""What there is in the sky: priors of lenses, sources and neighbours, and draws from them."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenssr._validation import check_keys
from lenssr.simulate._cosmology import einstein_radius_arcsec, known_cosmology
from lenssr.simulate._substructure import Substructure

SCENE_TYPES = ("lens", "subtracted", "quasar", "galaxy", "field", "empty")


@dataclass
class SceneModel:
    """Everything that is on a patch of sky, in lenstronomy's parameters."""

    kind: str
    lens_models: list = field(default_factory=list)
    lens_kwargs: list = field(default_factory=list)
    source_models: list = field(default_factory=list)
    source_kwargs: list = field(default_factory=list)
    light_models: list = field(default_factory=list)
    light_kwargs: list = field(default_factory=list)
    points: list = field(default_factory=list)
    quasar: dict | None = None
    galaxy: str = ""
    z_lens: float | None = None
    z_source: float | None = None
    substructure: object | None = None

    def as_dict(self):
        """The scene in plain lists and numbers, as JSON takes them."""
        tree = _plain(vars(self))
        if self.substructure is not None:
            tree["substructure"] = self.substructure.as_dict()
        return tree

    @classmethod
    def from_dict(cls, tree, images=None):
        """The scene of `as_dict`."""
        scene = cls(**tree)
        scene.points = [tuple(point) for point in scene.points]
        if scene.substructure is not None:
            scene.substructure = Substructure.from_dict(scene.substructure)
        if scene.quasar is not None:
            scene.quasar = {**scene.quasar, "flicker": np.array(scene.quasar["flicker"])}
        image = (images or {}).get(scene.galaxy)
        if image is not None:
            scene.source_kwargs = [
                {**kwargs, "image": image} if model == "INTERPOL" else kwargs
                for model, kwargs in zip(scene.source_models, scene.source_kwargs)]
        return scene


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k != "image"}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def sersic_parameters(x, y, flux, radius, index, e1=0.0, e2=0.0):
    """Parameters of a lenstronomy ``SERSIC_ELLIPSE`` of unit-free total ``flux``."""
    from scipy.special import gamma

    # Ciotti & Bertin (1999A&A...352..447C), eq. 18; flux to infinity in closed form.
    b = 2 * index - 1 / 3 + 4 / (405 * index)
    total = 2 * np.pi * index * radius**2 * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    return dict(amp=flux / total, R_sersic=radius, n_sersic=index, e1=e1, e2=e2,
                center_x=x, center_y=y)


MASS_MODELS = ("EPL", "SIE")
RANGE_FIELDS = ("theta_e", "gamma", "source_radius", "source_index", "lens_radius", "arc_to_lens",
          "z_lens", "z_source", "sigma_v")
FRACTION_FIELDS = ("clumpy", "real", "lens_light", "neighbours", "residuals")
WIDTH_FIELDS = ("center", "ellipticity", "shear", "source_ellipticity", "source_offset", "half_width")


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _ellipticity(rng, spread=0.15, mean=(0.0, 0.0), limit=0.4):
    e1, e2 = rng.normal(0, spread, 2) + mean
    shrink = min(1.0, limit / max(np.hypot(e1, e2), 1e-12))
    return float(e1 * shrink), float(e2 * shrink)


@dataclass(frozen=True)
class Population:
    """
    Priors of the scenes; every draw is a `SceneModel`.

    The defaults span the galaxy-scale lenses that surveys from the ground find: Einstein
    radii of the lenses of SL2S and SLACS (Sonnenfeld et al., 2013ApJ...777...97S; Auger et
    al., 2009ApJ...705.1099A), slopes of the mass (Auger et al., 2010ApJ...724..511A: 2.08
    with a scatter of 0.16), and shapes and shears of the mocks that lens finders are trained
    on (Collett, 2015ApJ...811...20C), with more of the hard cases than the sky has.

    Parameters
    ----------
    theta_e : tuple of float
        Range of Einstein radii, arcsec, uniform.
    gamma : tuple of float
        Range of logarithmic slopes of the elliptical power-law mass profile, uniform.
    shear : float
        Standard deviation of each component of the external shear.
    source_radius : tuple of float
        Range of half-light radii of the source, arcsec, log-uniform.
    lens_radius : tuple of float
        Range of half-light radii of the lens galaxy, arcsec, uniform.
    arc_to_lens : tuple of float
        Range of the flux of the unlensed source over that of the lens galaxy, log-uniform.
    half_width : float
        Half the side of the field over which neighbours are spread, arcsec.
    kinds : tuple of float
        Probabilities of the kinds of scene: ``lens``, lens galaxy with arcs;
        ``subtracted``, the same with the light of the lens subtracted, residuals
        left; ``quasar``, lensed quasar with host; ``galaxy`` without arcs;
        ``field`` of neighbours and stars; ``empty`` sky.
    z_lens, z_source : tuple of float
        Ranges of redshifts, uniform; a source is drawn from the part of its range
        that lies behind its lens.
    sigma_v : tuple of float, optional
        Range of velocity dispersions, km/s: the Einstein radius is then that of an
        isothermal sphere at these redshifts, in place of ``theta_e``.
    mass_model : str
        Mass of the lens: ``"EPL"``, an elliptical power law, or ``"SIE"``, isothermal
        whatever ``gamma`` is.
    center : float
        Largest offset of the lens along each axis from the middle of the field, arcsec.
    ellipticity : float
        Standard deviation of each component of the ellipticity (1 - q) / (1 + q) of
        the mass around its mean; the modulus is kept to 0.4.
    mean_ellipticity, mean_shear : tuple of float
        Mean of the two components.
    source_index : tuple of float
        Range of Sersic indices of the source, uniform.
    source_ellipticity : float
        Standard deviation of each component of the source's ellipticity.
    source_offset : float
        Radius of the disc around the lens in which sources lie, in Einstein radii.
    source_box : float, optional
        Half the side of a square around the lens in which they lie instead, arcsec.
    clumpy : float
        Share of the Sersic sources that have one to five clumps, smaller Sersic
        profiles.
    real : float
        Share of the sources that are images of real galaxies, which `galaxies` or the
        package have.
    galaxies : sequence, optional
        Images of real galaxies to take in place of those in the package: objects with a
        ``name``, an ``image`` of sum one, and a ``half_light_radius`` and a
        ``pixel_scale`` in arcsec, as `lenssr.data.galaxy_stamps` gives them. They are
        scaled to the half-light radius that is drawn.
    lens_light : float
        Share of the lenses whose galaxy is seen, of those of quasars three fifths of
        it.
    neighbours : float
        Share of scenes with other galaxies and stars in the field, 1.5 in the mean.
    residuals : float
        Share of the galaxies that were subtracted as the profile that they are not: rings,
        holes and a core of either sign are left, of up to a tenth of the light.
    cosmology : str
        Name of a cosmology of `astropy.cosmology`.
    conserve_mass : bool
        Dark substructure takes its mass from the lens; otherwise it comes on top of it, and
        the radius of the arcs tells of it.

    Raises
    ------
    ValueError
        If a prior is impossible.
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
    mass_model: str = "EPL"
    center: float = 0.3
    ellipticity: float = 0.15
    mean_ellipticity: tuple = (0.0, 0.0)
    mean_shear: tuple = (0.0, 0.0)
    source_index: tuple = (0.5, 3.0)
    source_ellipticity: float = 0.2
    source_offset: float = 0.7
    source_box: float | None = None
    clumpy: float = 0.5
    real: float = 0.0
    galaxies: tuple | None = dataclasses.field(default=None, compare=False, repr=False)
    lens_light: float = 1.0
    neighbours: float = 0.35
    residuals: float = 0.0
    cosmology: str = "Planck18"
    conserve_mass: bool = True

    def __post_init__(self):
        for name in RANGE_FIELDS:
            if name != "sigma_v" or self.sigma_v is not None:
                self._check_range(name)
        if self.z_source[1] <= self.z_lens[1]:
            raise ValueError(f"`z_source` must reach beyond `z_lens` {self.z_lens!r}, "
                             f"got {self.z_source!r}")
        for name, limits in (*((n, (0, 1)) for n in FRACTION_FIELDS), *((n, (0, np.inf)) for n in WIDTH_FIELDS)):
            value = getattr(self, name)
            if not (_is_number(value) and limits[0] <= value <= limits[1]):
                what = "from 0 to 1" if limits[1] == 1 else "that is not negative"
                raise ValueError(f"`{name}` must be a number {what}, got {value!r}")
        if not (len(self.kinds) == len(SCENE_TYPES) and min(self.kinds) >= 0
                and abs(sum(self.kinds) - 1) < 1e-6):
            raise ValueError(f"`kinds` must be {len(SCENE_TYPES)} probabilities of sum one "
                             f"({', '.join(SCENE_TYPES)}), got {self.kinds!r}")
        if self.mass_model not in MASS_MODELS:
            raise ValueError(f"`mass_model` must be one of {', '.join(MASS_MODELS)}, "
                             f"got {self.mass_model!r}")
        known_cosmology(self.cosmology)

    def _check_range(self, name):
        value = getattr(self, name)
        try:
            low, high = value
            fine = 0 < low <= high < np.inf
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise ValueError(f"`{name}` must be two positive numbers, the lower one first, "
                             f"got {value!r}")
        object.__setattr__(self, name, (low, high))

    @classmethod
    def read(cls, path):
        """
        Read priors from a TOML file.

        Parameters
        ----------
        path : path-like
            A file whose keys are parameters of this class; what it leaves out has its
            default.

        Returns
        -------
        population : `Population`

        Raises
        ------
        ValueError
            If the file is not TOML, has an unknown key, or a prior is impossible.
        """
        path = Path(path)
        try:
            tree = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise ValueError(f"`population`: {path} is not TOML: {err}") from err
        check_keys(tree, [f.name for f in dataclasses.fields(cls) if f.name != "galaxies"],
                   str(path))
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in tree.items()})

    def as_dict(self):
        """The priors as plain numbers, for the manifest of a catalogue or a TOML file."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
                if f.name != "galaxies"}

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
        scene = SceneModel(SCENE_TYPES[rng.choice(len(SCENE_TYPES), p=self.kinds)])
        center = rng.uniform(-self.center, self.center, 2)
        e1, e2 = _ellipticity(rng, self.ellipticity, self.mean_ellipticity)
        if scene.kind in ("lens", "subtracted", "quasar"):
            self._add_mass(scene, rng, center, e1, e2)
            self._add_source(scene, rng, center)
        with_light = scene.kind != "quasar" or rng.random() < 0.6
        if self.lens_light < 1:
            with_light = with_light and rng.random() < self.lens_light
        if scene.kind not in ("field", "empty") and with_light:
            self._add_lens_light(scene, rng, center, e1, e2)
        if scene.kind == "field" or (scene.kind != "empty" and rng.random() < self.neighbours):
            self._add_neighbours(scene, rng, at_least=int(scene.kind == "field"))
        return scene

    def _add_mass(self, scene, rng, center, e1, e2):
        if self.sigma_v is None:
            theta_e = float(rng.uniform(*self.theta_e))
        else:
            scene.z_lens, scene.z_source = self.redshifts(rng)
            theta_e = float(einstein_radius_arcsec(rng.uniform(*self.sigma_v), scene.z_lens,
                                              scene.z_source, self.cosmology))
        gamma = float(rng.uniform(*self.gamma))
        shape = dict(e1=e1, e2=e2, center_x=float(center[0]), center_y=float(center[1]))
        slope = {"gamma": gamma} if self.mass_model == "EPL" else {}
        shear = rng.normal(0, self.shear, 2) + self.mean_shear
        scene.lens_models = [self.mass_model, "SHEAR"]
        scene.lens_kwargs = [dict(theta_E=theta_e, **slope, **shape),
                             dict(gamma1=float(shear[0]), gamma2=float(shear[1]), ra_0=0.0,
                                  dec_0=0.0)]

    def _place(self, rng, center, theta_e):
        if self.source_box is not None:
            return center + rng.uniform(-self.source_box, self.source_box, 2)
        angle = rng.uniform(0, 2 * np.pi)
        distance = self.source_offset * theta_e * np.sqrt(rng.random())
        return center + distance * np.array([np.cos(angle), np.sin(angle)])

    def _add_source(self, scene, rng, center):
        x, y = self._place(rng, center, scene.lens_kwargs[0]["theta_E"])
        flux = _log_uniform(rng, *self.arc_to_lens)
        radius = _log_uniform(rng, *self.source_radius)
        if self.real and rng.random() < self.real:
            self._add_galaxy(scene, rng, x, y, flux, radius)
        else:
            self._add_clumps(scene, rng, x, y, flux, radius)
        if scene.kind == "quasar":
            scene.quasar = dict(x=x, y=y, flux=flux * _log_uniform(rng, 1.0, 50.0),
                                flicker=rng.normal(0, 0.3, 9))

    def _add_clumps(self, scene, rng, x, y, flux, radius):
        clumps = [(x, y, flux, radius, rng.uniform(*self.source_index))]
        if rng.random() < self.clumpy:
            for _ in range(rng.integers(1, 6)):
                dx, dy = rng.normal(0, radius, 2)
                clumps.append((x + dx, y + dy, flux * rng.uniform(0.03, 0.4),
                               radius * rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)))
        for cx, cy, part, size, index in clumps:
            scene.source_models.append("SERSIC_ELLIPSE")
            scene.source_kwargs.append(sersic_parameters(cx, cy, part, size, index,
                                              *_ellipticity(rng, self.source_ellipticity)))

    def _add_galaxy(self, scene, rng, x, y, flux, radius):
        from lenssr.data import galaxy_stamps

        stamps = galaxy_stamps() if self.galaxies is None else self.galaxies
        stamp = stamps[rng.integers(len(stamps))]
        scale = stamp.pixel_scale * radius / stamp.half_light_radius
        scene.galaxy = stamp.name
        scene.source_models.append("INTERPOL")
        # lenstronomy takes the image as surface brightness.
        scene.source_kwargs.append(dict(
            image=stamp.image, amp=flux / scale**2, center_x=float(x), center_y=float(y),
            phi_G=float(rng.uniform(0, 2 * np.pi)), scale=scale))

    def _add_lens_light(self, scene, rng, center, e1, e2):
        twist = rng.normal(0, 0.04, 2)
        radius, index = rng.uniform(*self.lens_radius), rng.uniform(1.5, 4.5)
        shape = dict(e1=e1 + twist[0], e2=e2 + twist[1])
        model = [(1.0, sersic_parameters(*center, 1.0, radius, index, **shape))]
        if scene.kind == "subtracted":
            # What a fit leaves: the difference of two nearly equal profiles, of both signs.
            if rng.random() < 0.3:
                model = []
            else:
                moved = center + rng.normal(0, 0.01, 2)
                error = rng.normal(0, [0.01, 0.03, 0.03])
                model.append((-1.0, sersic_parameters(*moved, 1.0 + error[0], radius * (1 + error[1]),
                                           index * (1 + error[2]), **shape)))
            if model and self.residuals and rng.random() < self.residuals:
                model += _subtraction_residuals(rng, center, radius, shape)
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
                scene.light_kwargs.append(sersic_parameters(
                    x, y, flux, _log_uniform(rng, 0.08, 0.6), rng.uniform(0.7, 4.0),
                    *_ellipticity(rng, 0.2)))


def _subtraction_residuals(rng, center, radius, shape):
    """What a fit leaves of a galaxy that is no such profile: light, and the lack of it around."""
    light = []
    for _ in range(rng.integers(1, 4)):
        sign = 1.0 if rng.random() < 0.5 else -1.0
        flux, inner = _log_uniform(rng, 0.003, 0.1), radius * _log_uniform(rng, 0.05, 0.6)
        index, moved = rng.uniform(0.5, 1.2), center + rng.normal(0, 0.02, 2)
        wider, part = rng.uniform(1.3, 3.0), rng.normal(1.0, 0.2)
        light += [(sign, sersic_parameters(*moved, flux, inner, index, **shape)),
                  (-sign, sersic_parameters(*moved, flux * part, inner * wider, index, **shape))]
    return light


def _is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
