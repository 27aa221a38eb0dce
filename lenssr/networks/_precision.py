"""In which arithmetic networks run."""

import torch

__all__ = ["exact_float32", "has_fast_bfloat16"]


def has_fast_bfloat16(device):
    """Whether bfloat16 is faster than float32 there, and not emulated."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available()
                and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def exact_float32():
    """Context in which single precision is that, on GPUs too."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
