"""Scenes on the sky, and the priors of lenses, sources and neighbours that they are drawn from."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lenssr._validation import check_keys, check_name, check_range
from lenssr.simulate._cosmology import einstein_radius_arcsec, find_cosmology
from lenssr.simulate._substructure import Substructure

SCENE_TYPES = ("lens", "subtracted", "quasar", "galaxy", "field", "empty")
LENS_TYPES = ("lens", "subtracted", "quasar")  # scene types with a lens
MASS_MODELS = ("EPL", "SIE")

# Options of a population by the values that they take.
RANGES = ("theta_e", "gamma", "source_radius", "source_index", "lens_radius", "arc_to_lens",
          "z_lens", "z_source", "sigma_v")
FRACTIONS = ("clumpy", "real_sources", "lens_light", "neighbours", "subtraction_residuals")
WIDTHS = ("center", "ellipticity", "shear", "source_ellipticity", "source_offset", "half_width")

MAX_ELLIPTICITY = 0.4        # modulus (1 - q) / (1 + q) to which ellipticities are limited
FLICKER = 0.3                # magnitudes, scatter of the variability of quasar images
MAX_QUASAR_IMAGES = 9
P_QUASAR_LENS_LIGHT = 0.6    # probability that the lens galaxy of a quasar is visible
P_PERFECT_SUBTRACTION = 0.3  # probability that the lens light is subtracted without error
MEAN_NEIGHBOURS = 1.5        # mean number of neighbours in scenes that have some
P_STAR = 0.25                # probability that a neighbour is a star


@dataclass
class SceneModel:
    """
    Scene on a patch of sky, in lenstronomy's parameters.

    Positions are in arcsec. ``light_models`` (lens galaxy, neighbours) and ``points`` (stars:
    ``x``, ``y``, flux) are not lensed. ``quasar`` has ``x``, ``y`` in the source plane, the
    intrinsic ``flux``, and the ``flicker`` of each image in magnitudes. ``galaxy`` is the name of a
    real source galaxy.
    """

    scene_type: str
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
    substructure: Substructure | None = None

    def as_dict(self):
        """Return plain lists and numbers, for JSON, without the image of a real galaxy."""
        tree = _to_plain(vars(self))
        if self.substructure is not None:
            tree["substructure"] = self.substructure.as_dict()
        return tree

    @classmethod
    def from_dict(cls, tree, images=None):
        """Restore the scene of `as_dict`; ``images`` has the images of real galaxies by name."""
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

    def add_sersic(self, x, y, flux, *shape, sign=1.0, **ellipticity):
        """Add an unlensed Sersic profile with the arguments of `sersic_parameters`."""
        kwargs = sersic_parameters(x, y, flux, *shape, **ellipticity)
        self.light_models.append("SERSIC_ELLIPSE")
        self.light_kwargs.append({**kwargs, "amp": sign * kwargs["amp"]})


@dataclass(frozen=True)
class Population:
    """
    Priors of scenes.

    The defaults span the galaxy-scale lenses of ground-based surveys: Einstein radii of the
    lenses of SL2S and SLACS (Sonnenfeld et al., 2013ApJ...777...97S; Auger et al.,
    2009ApJ...705.1099A), mass slopes (Auger et al., 2010ApJ...724..511A: 2.08 with a scatter of
    0.16), and shapes and shears of the mocks that lens finders are trained on (Collett,
    2015ApJ...811...20C). Difficult scenes are more frequent than on the sky.

    Parameters
    ----------
    theta_e : tuple of float
        Range of Einstein radii, arcsec, uniform; default (0.5, 2.2).
    gamma : tuple of float
        Range of logarithmic slopes of the power-law mass profile, uniform; default (1.8, 2.25).
    shear : float
        Standard deviation of each component of the external shear; default 0.04.
    source_radius : tuple of float
        Range of half-light radii of the source, arcsec, log-uniform; default (0.06, 0.4).
    lens_radius : tuple of float
        Range of half-light radii of the lens galaxy, arcsec, uniform; default (0.3, 1.3).
    arc_to_lens : tuple of float
        Range of the ratio of the fluxes of the unlensed source and the lens galaxy, log-uniform;
        default (0.02, 1).
    half_width : float
        Half the side of the field that neighbours occupy, arcsec; default 3.8.
    scene_fractions : tuple of float
        Probabilities of the scene types: ``lens``, a lens galaxy with arcs; ``subtracted``, the
        same with the lens light subtracted; ``quasar``, a lensed quasar with its host; ``galaxy``
        without arcs; ``field`` of neighbours and stars; ``empty`` sky. Default
        (0.38, 0.24, 0.15, 0.11, 0.09, 0.03).
    z_lens, z_source : tuple of float
        Ranges of redshifts, uniform; a source is drawn from the part of its range behind the
        lens. Default (0.5, 0.5) and (1, 1).
    sigma_v : tuple of float, optional
        Range of velocity dispersions, km/s, uniform. The Einstein radius is then the radius of an
        isothermal sphere at these redshifts, and ``theta_e`` is not used.
    mass_model : {"EPL", "SIE"}
        Elliptical power law (default), or isothermal ellipsoid, for which ``gamma`` is not used.
    center : float
        Largest offset of the lens from the centre of the field along each axis, arcsec; default
        0.3.
    ellipticity : float
        Standard deviation of each component of the ellipticity (1 - q) / (1 + q) of the mass
        around its mean; default 0.15. The modulus is limited to 0.4.
    mean_ellipticity, mean_shear : tuple of float
        Means of the two components; default (0, 0).
    source_index : tuple of float
        Range of Sersic indices of the source, uniform; default (0.5, 3).
    source_ellipticity : float
        Standard deviation of each component of the ellipticity of the source; default 0.2.
    source_offset : float
        Radius of the disc around the lens that sources occupy, in Einstein radii; default 0.7.
    source_box : float, optional
        Half the side of a square around the lens that sources occupy, arcsec; replaces
        ``source_offset``.
    clumpy : float
        Fraction of the Sersic sources that have one to five clumps; default 0.5.
    real_sources : float
        Fraction of the sources that are images of real galaxies; default 0.
    galaxies : sequence, optional
        Images of real galaxies; by default `lenssr.data.galaxy_stamps`. Each has a ``name``, an
        ``image`` of sum one, a ``half_light_radius`` and a ``pixel_scale`` in arcsec, and is scaled
        to the half-light radius that is drawn.
    lens_light : float
        Fraction of the lenses with a visible lens galaxy, multiplied by 0.6 for quasars; default
        1.
    neighbours : float
        Fraction of scenes that have other galaxies and stars, 1.5 on average; default 0.35.
    subtraction_residuals : float
        Fraction of the subtracted lens galaxies that leave rings, dark gaps and a core, of up to a
        tenth of the flux; default 0.
    cosmology : str
        Name of a cosmology of `astropy.cosmology`; default ``"Planck18"``.
    conserve_mass : bool
        Take the mass of dark substructure from the smooth lens (default), or add it to the lens,
        which changes the radius of the arcs.

    Raises
    ------
    ValueError
        If a prior is impossible.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssr.simulate import Population
    >>> population = Population(scene_fractions=(1, 0, 0, 0, 0, 0), theta_e=(1.0, 1.5))
    >>> population.draw(np.random.default_rng(1)).lens_models
    ['EPL', 'SHEAR']
    """

    theta_e: tuple = (0.5, 2.2)
    gamma: tuple = (1.8, 2.25)
    shear: float = 0.04
    source_radius: tuple = (0.06, 0.4)
    lens_radius: tuple = (0.3, 1.3)
    arc_to_lens: tuple = (0.02, 1.0)
    half_width: float = 3.8
    scene_fractions: tuple = (0.38, 0.24, 0.15, 0.11, 0.09, 0.03)
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
    real_sources: float = 0.0
    galaxies: tuple | None = field(default=None, compare=False, repr=False)
    lens_light: float = 1.0
    neighbours: float = 0.35
    subtraction_residuals: float = 0.0
    cosmology: str = "Planck18"
    conserve_mass: bool = True

    def __post_init__(self):
        for name in RANGES:
            if name != "sigma_v" or self.sigma_v is not None:
                object.__setattr__(self, name, check_range(name, getattr(self, name), True))
        if self.z_source[1] <= self.z_lens[1]:
            raise ValueError(f"`z_source` must reach beyond `z_lens` {self.z_lens!r}, "
                             f"got {self.z_source!r}")
        for names, highest, text in ((FRACTIONS, 1, "from 0 to 1"),
                                     (WIDTHS, np.inf, "that is not negative")):
            for name in names:
                value = getattr(self, name)
                if not (_is_number(value) and 0 <= value <= highest):
                    raise ValueError(f"`{name}` must be a number {text}, got {value!r}")
        fractions = self.scene_fractions
        if not (len(fractions) == len(SCENE_TYPES) and min(fractions) >= 0
                and abs(sum(fractions) - 1) < 1e-6):
            raise ValueError(f"`scene_fractions` must be {len(SCENE_TYPES)} probabilities of sum "
                             f"one ({', '.join(SCENE_TYPES)}), got {fractions!r}")
        check_name("mass_model", self.mass_model, MASS_MODELS)
        find_cosmology(self.cosmology)

    @classmethod
    def read(cls, path):
        """
        Read priors from a TOML file.

        Parameters
        ----------
        path : path-like
            File whose keys are parameters of this class; missing keys have their defaults.

        Returns
        -------
        population : `Population`
            Priors of the file.

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
        """Return the priors as plain numbers, without the images of galaxies."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
                if f.name != "galaxies"}

    def draw_redshifts(self, rng):
        """
        Draw the redshifts of a lens and its source.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        z_lens, z_source : float
            Redshifts; the source is behind the lens.
        """
        z_lens = float(rng.uniform(*self.z_lens))
        low, high = self.z_source
        # `random` excludes 1, so that the source never has the redshift of the lens.
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
            Scene; the flux of the lens galaxy is one.
        """
        scene = SceneModel(SCENE_TYPES[rng.choice(len(SCENE_TYPES), p=self.scene_fractions)])
        center = rng.uniform(-self.center, self.center, 2)
        e1, e2 = _draw_ellipticity(rng, self.ellipticity, self.mean_ellipticity)
        if scene.scene_type in LENS_TYPES:
            self._add_mass(scene, rng, center, e1, e2)
            self._add_source(scene, rng, center)
        visible = scene.scene_type != "quasar" or rng.random() < P_QUASAR_LENS_LIGHT
        if self.lens_light < 1:
            visible = visible and rng.random() < self.lens_light
        if scene.scene_type not in ("field", "empty") and visible:
            self._add_lens_light(scene, rng, center, e1, e2)
        if scene.scene_type == "field" or (scene.scene_type != "empty"
                                           and rng.random() < self.neighbours):
            self._add_neighbours(scene, rng, minimum=int(scene.scene_type == "field"))
        return scene

    def _add_mass(self, scene, rng, center, e1, e2):
        if self.sigma_v is None:
            theta_e = float(rng.uniform(*self.theta_e))
        else:
            scene.z_lens, scene.z_source = self.draw_redshifts(rng)
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

    def _source_position(self, rng, center, theta_e):
        if self.source_box is not None:
            return center + rng.uniform(-self.source_box, self.source_box, 2)
        angle = rng.uniform(0, 2 * np.pi)
        distance = self.source_offset * theta_e * np.sqrt(rng.random())
        return center + distance * np.array([np.cos(angle), np.sin(angle)])

    def _add_source(self, scene, rng, center):
        x, y = self._source_position(rng, center, scene.lens_kwargs[0]["theta_E"])
        flux = _log_uniform(rng, *self.arc_to_lens)
        radius = _log_uniform(rng, *self.source_radius)
        if self.real_sources and rng.random() < self.real_sources:
            self._add_galaxy(scene, rng, x, y, flux, radius)
        else:
            self._add_clumps(scene, rng, x, y, flux, radius)
        if scene.scene_type == "quasar":
            scene.quasar = dict(x=x, y=y, flux=flux * _log_uniform(rng, 1.0, 50.0),
                                flicker=rng.normal(0, FLICKER, MAX_QUASAR_IMAGES))

    def _add_clumps(self, scene, rng, x, y, flux, radius):
        clumps = [(x, y, flux, radius, rng.uniform(*self.source_index))]
        if rng.random() < self.clumpy:
            for _ in range(rng.integers(1, 6)):
                dx, dy = rng.normal(0, radius, 2)
                clumps.append((x + dx, y + dy, flux * rng.uniform(0.03, 0.4),
                               radius * rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)))
        for clump in clumps:
            scene.source_models.append("SERSIC_ELLIPSE")
            scene.source_kwargs.append(
                sersic_parameters(*clump, *_draw_ellipticity(rng, self.source_ellipticity)))

    def _add_galaxy(self, scene, rng, x, y, flux, radius):
        from lenssr.data import galaxy_stamps

        stamps = galaxy_stamps() if self.galaxies is None else self.galaxies
        stamp = stamps[rng.integers(len(stamps))]
        pixel_scale = stamp.pixel_scale * radius / stamp.half_light_radius
        scene.galaxy = stamp.name
        scene.source_models.append("INTERPOL")
        # lenstronomy takes the image as surface brightness.
        scene.source_kwargs.append(dict(
            image=stamp.image, amp=flux / pixel_scale**2, center_x=float(x), center_y=float(y),
            phi_G=float(rng.uniform(0, 2 * np.pi)), scale=pixel_scale))

    def _add_lens_light(self, scene, rng, center, e1, e2):
        twist = rng.normal(0, 0.04, 2)
        radius, index = rng.uniform(*self.lens_radius), rng.uniform(1.5, 4.5)
        shape = dict(e1=e1 + twist[0], e2=e2 + twist[1])
        if scene.scene_type != "subtracted":
            scene.add_sersic(*center, 1.0, radius, index, **shape)
        elif rng.random() >= P_PERFECT_SUBTRACTION:
            # Residual of a fit: the difference of two nearly equal profiles.
            fitted_center = center + rng.normal(0, 0.01, 2)
            error = rng.normal(0, [0.01, 0.03, 0.03])
            scene.add_sersic(*center, 1.0, radius, index, **shape)
            scene.add_sersic(*fitted_center, 1.0 + error[0], radius * (1 + error[1]),
                             index * (1 + error[2]), sign=-1.0, **shape)
            if self.subtraction_residuals and rng.random() < self.subtraction_residuals:
                _add_subtraction_residuals(scene, rng, center, radius, shape)

    def _add_neighbours(self, scene, rng, minimum):
        for _ in range(max(minimum, rng.poisson(MEAN_NEIGHBOURS))):
            x, y = rng.uniform(-self.half_width, self.half_width, 2)
            flux = _log_uniform(rng, 0.01, 1.0)
            if rng.random() < P_STAR:
                scene.points.append((float(x), float(y), flux))
            else:
                scene.add_sersic(x, y, flux, _log_uniform(rng, 0.08, 0.6), rng.uniform(0.7, 4.0),
                                 *_draw_ellipticity(rng, 0.2))


def sersic_parameters(x, y, flux, radius, index, e1=0.0, e2=0.0):
    """Return the parameters of a lenstronomy ``SERSIC_ELLIPSE`` of total ``flux``."""
    from scipy.special import gamma

    # Ciotti & Bertin (1999A&A...352..447C), eq. 18; flux to infinity in closed form.
    b = 2 * index - 1 / 3 + 4 / (405 * index)
    total = 2 * np.pi * index * radius**2 * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    return dict(amp=flux / total, R_sersic=radius, n_sersic=index, e1=e1, e2=e2,
                center_x=x, center_y=y)


def _add_subtraction_residuals(scene, rng, center, radius, shape):
    """Add rings, dark gaps and cores, the residual of a galaxy that is not a Sersic profile."""
    for _ in range(rng.integers(1, 4)):
        sign = 1.0 if rng.random() < 0.5 else -1.0
        flux, inner = _log_uniform(rng, 0.003, 0.1), radius * _log_uniform(rng, 0.05, 0.6)
        index, offset_center = rng.uniform(0.5, 1.2), center + rng.normal(0, 0.02, 2)
        width_ratio, flux_ratio = rng.uniform(1.3, 3.0), rng.normal(1.0, 0.2)
        scene.add_sersic(*offset_center, flux, inner, index, sign=sign, **shape)
        scene.add_sersic(*offset_center, flux * flux_ratio, inner * width_ratio, index,
                         sign=-sign, **shape)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_ellipticity(rng, width, mean=(0.0, 0.0)):
    e1, e2 = rng.normal(0, width, 2) + mean
    shrink = min(1.0, MAX_ELLIPTICITY / max(np.hypot(e1, e2), 1e-12))
    return float(e1 * shrink), float(e2 * shrink)


def _is_number(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _to_plain(value):
    if isinstance(value, dict):
        return {k: _to_plain(v) for k, v in value.items() if k != "image"}
    if isinstance(value, list | tuple):
        return [_to_plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
