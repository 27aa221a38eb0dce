"""What a network costs: multiplications of one pass, whatever the processor."""

import inspect

__all__ = ["count_macs"]

FWHM = 4.0  # input pixels: of the PSF that networks are told which look through the telescope


def count_macs(network, shape, scale=None):
    """
    Multiply-accumulates of one pass of a network over one image.

    Of convolutions, transposed ones, and products of matrices, wherever in the network
    they are called; additions, rectifiers, pooling, interpolation and Fourier transforms are
    left out, as publications do. Pixels beyond the frame, which padding adds, count. Of a
    diffusion, those of one step of one sample, without the network below it.

    Parameters
    ----------
    network : `torch.nn.Module`
        One of ``lenssr.networks``, in evaluation mode.
    shape : tuple of int
        Shape ``(ny, nx)`` of the input.
    scale : int, optional
        Of a network that does several: which; its first by default.

    Returns
    -------
    macs : int
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Not by hooks on modules: some networks make their kernels and call the function.
    image = next(network.parameters()).new_zeros(1, 1, *shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*_inputs(network, image, scale))
    return counter.get_total_flops() // 2


def _inputs(network, image, scale):
    """What a network is called with."""
    from lenssr.image import gaussian_psf, relative_kernel
    from lenssr.networks import N_METADATA_CHANNELS, N_PSF_FEATURES

    names = inspect.signature(network.forward).parameters
    if "noise" in names:  # one evaluation of the denoiser, with the encoder
        fine = image.new_zeros(1, 1, *(network.scale * n for n in image.shape[-2:]))
        noise = network.latent.encode(fine)
        return fine, image, image, image, image.new_zeros(1, N_METADATA_CHANNELS), fine, noise, image.new_ones(1)
    if "kernel" not in names:
        return image, image.new_zeros(1, N_PSF_FEATURES)
    scale = network.scales[0] if scale is None else scale
    kernel = image.new_tensor(relative_kernel(gaussian_psf(FWHM), scale))
    return image, image.new_ones(image.shape), kernel[None], image.new_zeros(1), scale
