"""Cache of rendered scenes, which are observed again at each use."""

import numpy as np

from lenssr._io import ChunkCache
from lenssr.simulate import Population, draw_model, render_batch

MAX_POINTS = 16  # point sources of a scene
SCENES_PER_CHUNK = 250
RENDER_BATCH = 25  # scenes rendered together


class SceneCache(ChunkCache):
    """Scenes of a population, with substructure priors that take turns, rendered once."""

    def __init__(self, folder, n_scenes, grid, population=None, seed=0, priors=()):
        super().__init__(folder, n_scenes, SCENES_PER_CHUNK, self._render, ("points", "scenes"),
                         "rendering scenes")
        self.grid, self.seed, self.priors = grid, seed, tuple(priors) or (None,)
        self.population = population or Population()

    def take(self, arrays, indices):
        """Return scenes and points of ``indices`` from the arrays of `open`, float32."""
        return tuple(np.stack([arrays[name][i // SCENES_PER_CHUNK][i % SCENES_PER_CHUNK]
                               for i in indices]) for name in ("scenes", "points"))

    def _render(self, indices):
        images, points = [], []
        for first in range(indices.start, indices.stop, RENDER_BATCH):
            batch = range(first, min(first + RENDER_BATCH, indices.stop))
            models = [draw_model(self.population, self.seed, i, self.priors[i % len(self.priors)])
                      for i in batch]
            rendered, tables = render_batch(models, self.grid)
            images.append(rendered.numpy().astype(np.float32))
            points += [_brightest(table) for table in tables.numpy()]
        return {"points": np.array(points, np.float32), "scenes": np.concatenate(images)}


def _brightest(points):
    """Return the ``MAX_POINTS`` brightest of the points ``(n, 3)``, padded with zero flux."""
    table = np.zeros((MAX_POINTS, 3))
    points = points[np.argsort(-points[:, 2])][:MAX_POINTS]
    table[: len(points)] = points
    return table
