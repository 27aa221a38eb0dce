"""The latent of a whole image: denoised tile by tile, and drawn with the same noise in each."""

import numpy as np

from lenssr.image import network_tiles
from lenssr.methods._samplers import draw

__all__ = ["LatentField"]

CELLS = 32768  # cells of the latents that are drawn together
TILE = 256     # side in cells of the tiles of large images


class LatentField:
    """A diffusion network made ready for an image."""

    def __init__(self, network, observed, run, precision):
        import torch

        from lenssr.networks import LATENT_CELL, encode_metadata, has_fast_bfloat16

        self.torch, self.scale = torch, run.scale
        self.device = torch.device(run.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.bfloat16 = precision == "bfloat16" or (
            precision == "auto" and has_fast_bfloat16(self.device))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.shape = observed["data"].shape
        self.cells = tuple(-(-n // LATENT_CELL) for n in self.shape)
        self.side = min(max(self.cells), TILE) if run.tile is None else max(1, run.tile // LATENT_CELL)
        told = encode_metadata(observed["numbers"]).to(self.device)
        self.features = self._features(observed, told, LATENT_CELL)

    def _features(self, observed, told, cell):
        """`Features` of the whole image, tile by tile."""
        torch, network = self.torch, self.network
        planes = {}
        for name, times in (("mean", self.scale), ("data", 1), ("weight", 1), ("residual", 1)):
            missing = [(0, times * (cell * n - m)) for n, m in zip(self.cells, self.shape)]
            planes[name] = np.pad(observed[name], missing, mode="edge")
        maps = variance = None
        for tile in network_tiles(self.cells, self.side, network.encoder_halo):
            parts = []
            for name, times in (("mean", cell * self.scale), ("data", cell), ("weight", cell),
                                ("residual", cell)):
                block = planes[name][tile.around(times)]
                parts.append(torch.from_numpy(block).to(self.device, torch.float32)[None, None])
            with torch.inference_mode(), self._autocast():
                found = network.encode(*parts, told)
            if maps is None:
                maps = torch.empty(*found.maps.shape[:3], *self.cells, dtype=found.maps.dtype,
                                   device=self.device)
                variance = torch.empty(*found.log_variance.shape[:2], *self.cells,
                                       device=self.device)
            maps[..., *tile.outer()] = found.maps[..., *tile.inner()]
            variance[..., *tile.outer()] = found.log_variance[..., *tile.inner()]
        return found._replace(maps=maps, log_variance=variance)

    def _autocast(self):
        return self.torch.autocast(self.device.type, self.torch.bfloat16, enabled=self.bfloat16)

    def groups(self, n):
        """Numbers of samples that are drawn together."""
        together = max(1, CELLS // (self.cells[0] * self.cells[1]))
        return [range(k, min(k + together, n)) for k in range(0, n, together)]

    def draw(self, sampler, levels, numbers, seed):
        """Samples of what is open."""
        torch = self.torch
        rngs = [np.random.default_rng([seed, number, 13]) for number in numbers]
        shape = (self.network.side**2, *self.cells)

        def fresh(step):
            noise = np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
            return torch.from_numpy(noise).to(self.device, memory_format=torch.channels_last)

        with torch.inference_mode():
            latent = draw(sampler, levels, self.denoise, fresh(None), fresh)
            errors = self.network.coloured(latent, self.features)[:, 0]
        ny, nx = (self.scale * n for n in self.shape)
        return errors[:, :ny, :nx].double().cpu().numpy()

    def denoise(self, latent, level):
        """The expected latents, given themselves with noise, tile by tile."""
        torch, network, features = self.torch, self.network, self.features
        sigma = torch.full((1,), level, device=self.device)
        pieces = network_tiles(self.cells, self.side, network.halo)
        found = torch.empty_like(latent) if len(pieces) > 1 else None
        for tile in pieces:
            part = features._replace(maps=features.maps[..., *tile.padded])
            with self._autocast():
                output = network.denoise(latent[..., *tile.padded], sigma, part)
            if found is None:
                return output
            found[..., *tile.outer()] = output[..., *tile.inner()]
        return found

    def spread(self):
        """Predicted standard deviation of each output pixel, noise units."""
        torch, network = self.torch, self.network
        with torch.inference_mode():
            square = torch.nn.functional.conv_transpose2d(
                torch.exp(self.features.log_variance), network.latent.kernel()**2,
                stride=network.side)
        ny, nx = (self.scale * n for n in self.shape)
        return square[0, 0, :ny, :nx].double().sqrt().cpu().numpy()
