"""Pairs of scenes that someone made, in place of drawn ones."""

from lenssr.simulate._pair import make_pair
from lenssr.simulate._series import PairSeries

__all__ = ["GivenSeries"]


class GivenSeries(PairSeries):
    """Pairs of images of given scenes; iterating makes them one by one."""

    def __init__(self, scenes, instrument, size, *, scale=2, seed=0):
        super().__init__(substructure="no_sub", instrument=instrument, scale=scale, size=size,
                         seed=seed)
        self.scenes, self.preset = list(scenes), None

    def __len__(self):
        return len(self.scenes)

    def __iter__(self):
        return (make_pair(self, index) for index in range(len(self)))

    def models(self, indices):
        """The scenes with these indices, a list of `SceneModel`."""
        return [self.scenes[i] for i in indices]
