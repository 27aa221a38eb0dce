"""The best that one linear filter can do: the baseline that a network has to beat."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["OptimalLinearFilter"]


class OptimalLinearFilter:
    r"""
    One filter from input pixels to output pixels, fitted to pairs by least squares.

    Each of the ``scale**2`` output pixels of an input pixel is a weighted sum of the
    ``size`` x ``size`` input pixels about it; the weights are those of least mean
    square error over all pairs that were added, each pair being divided by the peak
    of its truth, as PSNR is.

    Parameters
    ----------
    size : int
        Side of the patch of input pixels, odd.
    scale : int
        Output pixels per input pixel.
    ridge : float
        Penalty on the squared weights, relative to the mean square of the input.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    Only the normal equations are kept, :math:`A^T A` and :math:`A^T b`: memory does
    not depend on the number of pairs.
    """

    def __init__(self, size=15, scale=2, ridge=1e-6):
        if size != int(size) or size < 1 or size % 2 == 0:
            raise ValueError(f"`size` must be an odd positive integer, got {size!r}")
        if scale != int(scale) or scale < 1:
            raise ValueError(f"`scale` must be a positive integer, got {scale!r}")
        if not ridge >= 0:
            raise ValueError(f"`ridge` must not be negative, got {ridge!r}")
        self.size, self.scale, self.ridge = int(size), int(scale), float(ridge)
        self.n_pairs = 0
        self._normal = np.zeros((self.size**2, self.size**2))
        self._moment = np.zeros((self.size**2, self.scale**2))
        self._weights = None

    def add(self, lr, hr):
        """
        Learn from a pair.

        Parameters
        ----------
        lr : `~numpy.ndarray`
            Observed image, shape ``(ny, nx)``.
        hr : `~numpy.ndarray`
            Its truth, shape ``(scale * ny, scale * nx)``. A pair whose truth has no
            positive peak is passed over.

        Raises
        ------
        ValueError
            If the shapes do not match or the image is smaller than half the filter.
        """
        lr, hr = np.asarray(lr, dtype=float), np.asarray(hr, dtype=float)
        if lr.ndim != 2 or hr.shape != tuple(self.scale * n for n in lr.shape):
            raise ValueError(f"`hr` must have {self.scale} times the shape of `lr` {lr.shape}, "
                             f"got {hr.shape}")
        peak = hr.max()
        if peak <= 0:
            return
        patches = self._patches(lr / peak)
        targets = self._phases(hr / peak)
        self._normal += patches.T @ patches
        self._moment += patches.T @ targets
        self.n_pairs += 1
        self._weights = None

    @property
    def weights(self):
        """Weights, shape ``(scale, scale, size, size)``: output phase, then input pixel."""
        return self._solution().T.reshape(self.scale, self.scale, self.size, self.size)

    def _solution(self):
        """The weights as they are fitted, shape ``(size**2, scale**2)``."""
        if self._weights is None:
            if not self.n_pairs:
                raise ValueError("the filter has learnt from no pair yet: call `add` first")
            normal = self._normal.copy()
            normal[np.diag_indices_from(normal)] += self.ridge * np.trace(normal) / len(normal)
            self._weights = np.linalg.solve(normal, self._moment)
        return self._weights

    def apply(self, lr):
        """
        Restore an image, reflected about its edges.

        Parameters
        ----------
        lr : `~numpy.ndarray`
            Shape ``(ny, nx)``.

        Returns
        -------
        hr : `~numpy.ndarray`
            Shape ``(scale * ny, scale * nx)``.

        Raises
        ------
        ValueError
            If no pair was added, or the image is smaller than half the filter.
        """
        lr = np.asarray(lr, dtype=float)
        if lr.ndim != 2:
            raise ValueError(f"`lr` must have 2 dimensions, got {lr.ndim}")
        weights, s, (ny, nx) = self._solution(), self.scale, lr.shape
        phases = self._patches(lr) @ weights
        return phases.reshape(ny, nx, s, s).transpose(0, 2, 1, 3).reshape(ny * s, nx * s)

    def _patches(self, image):
        half = self.size // 2
        if min(image.shape) < half:
            raise ValueError(f"`lr` must have at least {half} pixels along each side for a filter "
                             f"of {self.size}, got {image.shape}")
        padded = np.pad(image, half, mode="symmetric")
        return sliding_window_view(padded, (self.size, self.size)).reshape(image.size, -1)

    def _phases(self, image):
        s, (ny, nx) = self.scale, image.shape
        split = image.reshape(ny // s, s, nx // s, s).transpose(0, 2, 1, 3)
        return split.reshape(-1, s * s)
