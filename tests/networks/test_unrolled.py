"""Unrolled network: start, conditioning, and halo."""

import pytest
import torch

from lenssr.image import gaussian_psf, relative_kernel
from lenssr.networks import asinh_scale, build_network, enlarge


def inputs(n=12, scale=2, fwhm=3.0, batch=2):
    kernel = torch.from_numpy(relative_kernel(gaussian_psf(fwhm, 11), scale)).float()
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(batch, 1, n, n, generator=generator) * 3
    return (asinh_scale(image), torch.ones(batch, 1, n, n), kernel.expand(batch, -1, -1),
            torch.zeros(batch))


def perturbed(network, size=0.05):
    """Add random numbers to the weights of a network."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * torch.randn_like(parameter)
    return network.eval()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_starts_from_interpolation_at_every_scale(scale):
    network = build_network("unrolled", scale=[2, 3, 4], iterations=2, blocks=1, features=8)
    x, *conditions = inputs(scale=scale)
    out = network(x, *conditions, scale)
    assert out.shape == (2, 1, 12 * scale, 12 * scale)
    torch.testing.assert_close(out, enlarge(x, scale, "bicubic"))


def test_size_of_the_shipped_network():
    network = build_network("unrolled", scale=[2, 3, 4])
    assert sum(p.numel() for p in network.parameters()) < 600_000


@torch.no_grad()
def test_bad_pixels_do_not_count():
    """The output does not depend on the PSF if all pixels are bad."""
    network = perturbed(build_network("unrolled", iterations=2, blocks=1, features=8))
    x, sigma, kernel, correlation = inputs()
    kernel = kernel.clone()
    kernel[:, :, :4] += 0.02
    modified = kernel.flip(-1)
    all_bad = torch.full_like(sigma, torch.inf)
    expected = network(x, all_bad, kernel, correlation)
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(network(x, all_bad, modified, correlation), expected)
    outputs = [network(x, sigma, k, correlation) for k in (kernel, modified)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


@torch.no_grad()
def test_last_iteration_is_repeated():
    """Same result as one conditions iteration with the same weights."""
    config = dict(blocks=1, features=8)
    repeated = perturbed(build_network("unrolled", iterations=2, repeats=1, **config))
    three = build_network("unrolled", iterations=3, **config).eval()
    state = repeated.state_dict()
    three.load_state_dict({**state, **{name.replace("steps.1.", "steps.2."): value
                                       for name, value in state.items()}})
    torch.testing.assert_close(repeated(*inputs()), three(*inputs()))
    shorter = build_network("unrolled", iterations=2, **config).eval()
    shorter.load_state_dict(state)
    assert not torch.allclose(shorter(*inputs()), repeated(*inputs()))


@torch.no_grad()
@pytest.mark.parametrize("config", [{"iterations": 2}, {"iterations": 1, "repeats": 1}])
def test_halo(config):
    network = perturbed(build_network("unrolled", blocks=1, features=8, **config)).double()
    x, sigma, kernel, correlation = (t.double() for t in inputs(n=80, batch=1, fwhm=9.0))
    halo = network.halo(5)
    modified = x.clone()
    modified[..., 10, 10] += 1.0
    difference = (network(x, sigma, kernel, correlation) - network(
        modified, sigma, kernel, correlation))[0, 0].abs()
    rows, columns = (torch.nonzero(difference.amax(dim=d) > 1e-12).ravel() for d in (1, 0))
    for changed in (rows, columns):
        halo_measured = changed.max().item() // 2 - 10
        assert halo - 2 <= halo_measured <= halo


def test_channels_must_be_one():
    with pytest.raises(ValueError, match="`channels` must be 1"):
        build_network("unrolled", channels=2)
