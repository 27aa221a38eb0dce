"""A bank of rendered scenes on disk: rendered once, observed anew at each use."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lenssr.simulate._population import Population
from lenssr.simulate._scene import render
from lenssr.simulate._series import draw_model
from lenssr.simulate._substructure import parse_substructure
from lenssr.simulate._torch_scene import render_batch

__all__ = ["MAX_POINTS", "SceneCache", "draw_scene"]

MAX_POINTS = 16
CHUNK = 250
PIECE = 25  # scenes rendered at once


def draw_scene(population, grid, seed, index, substructure="no_sub"):
    """Draw and render scene ``index`` of the series that ``seed`` begins."""
    model = draw_model(population, seed, index, parse_substructure(substructure))
    image, points = render(model, grid)
    return image, brightest(points), model


def brightest(points):
    """Table of ``MAX_POINTS`` point sources, filled up with such as give no light."""
    table = np.zeros((MAX_POINTS, 3))
    points = points[np.argsort(-points[:, 2])][:MAX_POINTS]
    table[: len(points)] = points
    return table


def _write_chunk(folder, population, grid, seed, chunk, priors):
    images = np.empty((CHUNK, grid.n, grid.n), np.float32)
    points = np.empty((CHUNK, MAX_POINTS, 3), np.float32)
    for first in range(0, CHUNK, PIECE):
        indices = range(chunk * CHUNK + first, chunk * CHUNK + first + PIECE)
        models = [draw_model(population, seed, i, priors[i % len(priors)]) for i in indices]
        rendered, tables = render_batch(models, grid)
        part = slice(first, first + PIECE)
        images[part] = rendered.numpy()
        points[part] = [brightest(table) for table in tables.numpy()]
    for name, array in (("points", points), ("scenes", images)):
        beside = folder / f".{name}-{chunk:05d}.npy"
        np.save(beside, array)
        os.replace(beside, folder / f"{name}-{chunk:05d}.npy")


class SceneCache:
    """Scenes of a population, rendered once and kept in a folder."""

    def __init__(self, folder, n_scenes, grid, population=None, seed=0, priors=()):
        self.folder, self.grid, self.seed = Path(folder), grid, seed
        self.priors = tuple(priors) or (None,)
        self.population = population or Population()
        self.n_chunks = -(-n_scenes // CHUNK)

    def __len__(self):
        return self.n_chunks * CHUNK

    def build(self, workers=1, progress=False):
        """Render the chunks that are not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [c for c in range(self.n_chunks)
                   if not (self.folder / f"scenes-{c:05d}.npy").exists()]
        # Threads: nearly all of the time goes into torch, and a script that trains need not be
        # written such that processes can import it.
        with ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(_write_chunk, self.folder, self.population, self.grid,
                                self.seed, c, self.priors) for c in missing]
            for job in tqdm(jobs, desc="rendering scenes", disable=not progress, delay=2):
                job.result()

    def open(self):
        """Lists of memory-mapped chunks: images and points."""
        def chunks(name):
            return [np.load(self.folder / f"{name}-{c:05d}.npy", mmap_mode="r")
                    for c in range(self.n_chunks)]
        return chunks("scenes"), chunks("points")

    def take(self, opened, indices):
        """Images and points of the scenes with these indices, as float32 arrays."""
        scenes, points = opened
        return (np.stack([scenes[i // CHUNK][i % CHUNK] for i in indices]),
                np.stack([points[i // CHUNK][i % CHUNK] for i in indices]))
