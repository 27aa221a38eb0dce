"""Methods on a GPU agree with a CPU to single precision."""

import numpy as np
import pytest
import torch

from lenssr import superresolve
from lenssr.data import demo_lens

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
    pytest.mark.filterwarnings("ignore::lenssr.exceptions.LensSRWarning")]

NETWORKS = ("srcnn", "fsrcnn", "fsrcnn_equivariant", "fsrcnn_hybrid", "edsr", "rdn", "rcan",
            "srresnet", "srgan", "fast", "unrolled")


@pytest.fixture(scope="module")
def lens():
    return demo_lens().lr


def both(lens, method, **options):
    return [superresolve(lens, method, device=device, n_probes=1, **options)
            for device in ("cpu", "cuda")]


@pytest.mark.parametrize("method", NETWORKS)
def test_networks(lens, method):
    here, there = both(lens, method)
    peak = np.nanmax(here.data)
    np.testing.assert_allclose(there.data, here.data, rtol=0, atol=2e-5 * peak)
    for part in ("uncertainty", "measurement_std"):
        stds = [getattr(r, part) for r in (here, there)]
        stds = [getattr(std, "array", std) for std in stds]
        np.testing.assert_allclose(stds[1], stds[0], rtol=0.01, atol=1e-5 * peak)


def test_samples(lens):
    here, there = both(lens, "diffusion", n_samples=4, seed=3, precision="float32")
    sigma = here.uncertainty.array
    assert np.sqrt(np.nanmean(((there.samples - here.samples) / sigma)**2)) < 0.05
    half, = both(lens, "diffusion", n_samples=4, seed=3)[1:]
    assert np.sqrt(np.nanmean(((half.samples - here.samples) / sigma)**2)) < 0.1
