"""In which arithmetic networks run."""

import torch

__all__ = ["has_fast_bfloat16"]


def has_fast_bfloat16(device):
    """Whether bfloat16 is faster than float32 there, and not emulated."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.backends.mkldnn.is_available()
                and torch.ops.mkldnn._is_mkldnn_bf16_supported())
