"""Real data that come with lenssr: a lens, and galaxies to make others with."""

from ._demo_lens import demo_lens
from ._galaxies import galaxy_stamps

__all__ = ["demo_lens", "galaxy_stamps"]
