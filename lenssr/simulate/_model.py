"""One scene: what is on a patch of sky, in lenstronomy's parameters."""

from dataclasses import dataclass, field

import numpy as np

from lenssr.simulate._substructure import Substructure

__all__ = ["KINDS", "SceneModel", "sersic"]

KINDS = ("lens", "subtracted", "quasar", "galaxy", "field", "empty")


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


def sersic(x, y, flux, radius, index, e1=0.0, e2=0.0):
    """Parameters of a lenstronomy ``SERSIC_ELLIPSE`` of unit-free total ``flux``."""
    from scipy.special import gamma

    # Ciotti & Bertin (1999A&A...352..447C), eq. 18; flux to infinity in closed form.
    b = 2 * index - 1 / 3 + 4 / (405 * index)
    total = 2 * np.pi * index * radius**2 * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    return dict(amp=flux / total, R_sersic=radius, n_sersic=index, e1=e1, e2=e2,
                center_x=x, center_y=y)
