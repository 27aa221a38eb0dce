"""Real data that come with lenssr: a lens, and galaxies and PSFs to make others with."""

from ._demo_lens import demo_lens
from ._galaxies import galaxy_stamps
from ._psfs import measured_psfs

__all__ = ["demo_lens", "galaxy_stamps", "measured_psfs"]
