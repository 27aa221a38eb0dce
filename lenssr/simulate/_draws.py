"""Random numbers for batches of observations, as tensors."""

import numpy as np
import torch

__all__ = ["BatchDraws", "SeriesDraws"]


class BatchDraws:
    """From one generator for the whole batch."""

    def __init__(self, generator, batch, device=None):
        self.generator, self.batch, self.device = generator, batch, device

    def uniform(self, low, high):
        """Uniform numbers, shape ``(batch,)``."""
        unit = torch.rand(self.batch, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def normal(self, *shape):
        """Standard normal numbers, shape ``(batch, *shape)``."""
        return torch.randn(self.batch, *shape, generator=self.generator, device=self.device)

    def integers(self, high, *shape):
        """Integers below ``high``, shape ``(batch, *shape)``."""
        return torch.randint(high, (self.batch, *shape), generator=self.generator,
                             device=self.device)


class SeriesDraws:
    """From a generator for each pair: a pair does not depend on the others in its batch."""

    def __init__(self, rngs, dtype=torch.float64, device=None):
        self.rngs, self.dtype, self.device = list(rngs), dtype, device
        self.batch = len(self.rngs)

    def _tensor(self, draw, dtype=None):
        array = np.stack([draw(rng) for rng in self.rngs])
        return torch.as_tensor(array, dtype=dtype or self.dtype, device=self.device)

    def uniform(self, low, high):
        """Uniform numbers, shape ``(batch,)``."""
        return low + (high - low) * self._tensor(lambda rng: rng.random())

    def normal(self, *shape):
        """Standard normal numbers, shape ``(batch, *shape)``."""
        return self._tensor(lambda rng: rng.standard_normal(shape))

    def integers(self, high, *shape):
        """Integers below ``high``, shape ``(batch, *shape)``."""
        return self._tensor(lambda rng: rng.integers(high, size=shape or None), torch.int64)
