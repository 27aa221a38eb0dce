"""What a network costs: multiplications of one pass, whatever the processor."""

__all__ = ["count_macs"]


def count_macs(network, shape):
    """
    Multiply-accumulates of one pass of a network over one image.

    Of convolutions, transposed ones, and products of matrices, wherever in the network
    they are called; additions, rectifiers, pooling and interpolation are left out, as
    publications do. Pixels beyond the frame, which padding adds, count.

    Parameters
    ----------
    network : `torch.nn.Module`
        One of ``lenssr.networks``, in evaluation mode.
    shape : tuple of int
        Shape ``(ny, nx)`` of the input.

    Returns
    -------
    macs : int
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lenssr.networks import CONDITIONS

    # Not by hooks on modules: some networks make their kernels and call the function.
    like = next(network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(like.new_zeros(1, 1, *shape), like.new_zeros(1, CONDITIONS))
    return counter.get_total_flops() // 2
