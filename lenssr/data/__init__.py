"""Real data that come with lenssr: a lens, and galaxies, PSFs and skies to make others with."""

from ._demo_lens import demo_lens
from ._galaxies import galaxy_stamps
from ._psfs import measured_psfs
from ._sky import sky_stamps

__all__ = ["demo_lens", "galaxy_stamps", "measured_psfs", "sky_stamps"]
