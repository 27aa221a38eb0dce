"""Simulated skies: scenes, telescopes, and pairs of images of low and high resolution."""

from ._bank import SceneBank
from ._population import Population

__all__ = ["Population", "SceneBank"]
