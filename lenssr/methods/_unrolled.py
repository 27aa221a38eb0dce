"""Networks that look at the data through the telescope, tile by tile."""

import numpy as np

from lenssr._validation import check_fraction
from lenssr.image import relative_kernel
from lenssr.methods._base import require_psf
from lenssr.methods._network import Network, TiledInference
from lenssr.uncertainty import neighbour_correlation

__all__ = ["Unrolled"]

LONGEST = 31   # side of a PSF in input pixels beyond which its wings are cut
NEGLIGIBLE = 2e-3  # share of its light that may be cut off before


class Unrolled(Network):
    """A network with the observation inside: any PSF, noise that varies, masked pixels."""

    def __init__(self, architecture, weights=None, n_probes=8, precision="float32",
                 correlation=None):
        super().__init__(architecture, weights, n_probes, precision)
        self.correlation = None if correlation is None else check_fraction("correlation", correlation)

    def restore(self, image, run):
        """Restore one plane."""
        require_psf(image, f"method {self.architecture!r}")
        return super().restore(image, run)

    def _apply(self, network, image, run, limits):
        correlation = self.correlation
        if correlation is None:
            correlation = max(0.0, neighbour_correlation(image.data, image.mask))
        apply = ThroughTelescope(network, image, run, self.precision, 1 + self.n_probes,
                                 correlation)
        apply.facts = {"SRNCORR": (round(correlation, 3), "correlation of neighbouring noise")}
        return apply


class ThroughTelescope(TiledInference):
    """The map from a plane to its mean of a network that is told of the telescope."""

    def __init__(self, network, image, run, precision, runs, correlation):
        self.kernel = relative_kernel(truncate_psf(image.psf), run.scale)
        self.correlation = correlation
        super().__init__(network, image, run, precision, runs)

    @property
    def halo(self):
        """Input pixels around a tile on which it depends."""
        return self.network.halo(max(self.kernel.shape) // self.scale // 2)

    def _tell(self, image):
        tensor = self.torch.as_tensor
        self.told = tuple(tensor(value, dtype=self.dtype, device=self.device)
                          for value in (self.kernel[None], np.array([self.correlation])))

    @property
    def summary(self):
        """Logarithm of the area that the PSF covers, and the correlation of the noise."""
        from lenssr._forward_model import LOG_AREA_OFFSET, covered_area

        kernel, correlation = self.told
        return self.torch.stack([covered_area(kernel, self.scale).log() - LOG_AREA_OFFSET,
                                 correlation], dim=1)

    def check_psf(self, psf):
        """Nothing to warn of: it was trained on all of them."""

    def _inputs(self, image, tile):
        part = tile.padded
        sigma = np.where(image.mask[part], np.inf, image.sigma[part] / image.noise)
        sigma = self.torch.as_tensor(sigma, dtype=self.dtype, device=self.device)
        return sigma[None, None], *self.told, self.scale


def truncate_psf(psf):
    """A PSF without the rim that holds next to none of its light, which costs time."""
    for side in range(9, LONGEST + 1, 2):
        if side >= max(psf.shape):
            return psf
        edges = [max(0, (n - side) // 2) for n in psf.shape]
        core = psf[edges[0]:psf.shape[0] - edges[0], edges[1]:psf.shape[1] - edges[1]]
        if np.abs(psf).sum() - np.abs(core).sum() < NEGLIGIBLE:
            return core
    return core
