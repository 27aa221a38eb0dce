"""The unrolled network: what it starts from, what it is told, where it looks."""

import pytest
import torch

from lenssr.image import gaussian_psf, relative_kernel
from lenssr.networks import asinh_scale, build_network, enlarge


def told(n=12, scale=2, fwhm=3.0, batch=2):
    kernel = torch.from_numpy(relative_kernel(gaussian_psf(fwhm, 11), scale)).float()
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(batch, 1, n, n, generator=generator) * 3
    return (asinh_scale(image), torch.ones(batch, 1, n, n), kernel.expand(batch, -1, -1),
            torch.zeros(batch))


def shaken(network, size=0.05):
    """The network with weights that are not those of the start."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * torch.randn_like(parameter)
    return network.eval()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_starts_from_interpolation_at_every_scale(scale):
    network = build_network("unrolled", scale=[2, 3, 4], iterations=2, blocks=1, features=8)
    x, *more = told(scale=scale)
    out = network(x, *more, scale)
    assert out.shape == (2, 1, 12 * scale, 12 * scale)
    torch.testing.assert_close(out, enlarge(x, scale, "bicubic"))


def test_size_of_the_shipped_network():
    network = build_network("unrolled", scale=[2, 3, 4])
    assert sum(p.numel() for p in network.parameters()) < 600_000


@torch.no_grad()
def test_masked_pixels_say_nothing():
    """Where nothing was observed it does not matter through what."""
    network = shaken(build_network("unrolled", iterations=2, blocks=1, features=8))
    x, sigma, kernel, correlation = told()
    kernel = kernel.clone()
    kernel[:, :, :4] += 0.02
    other = kernel.flip(-1)
    nowhere = torch.full_like(sigma, torch.inf)
    blind = network(x, nowhere, kernel, correlation)
    assert torch.isfinite(blind).all()
    torch.testing.assert_close(network(x, nowhere, other, correlation), blind)
    seen = [network(x, sigma, k, correlation) for k in (kernel, other)]
    assert (seen[0] - seen[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_last_iteration_is_repeated():
    """As if there were another of the same weights."""
    sizes = dict(blocks=1, features=8)
    twice = shaken(build_network("unrolled", iterations=2, repeats=1, **sizes))
    three = build_network("unrolled", iterations=3, **sizes).eval()
    state = twice.state_dict()
    three.load_state_dict({**state, **{name.replace("steps.1.", "steps.2."): value
                                       for name, value in state.items()}})
    torch.testing.assert_close(twice(*told()), three(*told()))
    once = build_network("unrolled", iterations=2, **sizes).eval()
    once.load_state_dict(state)
    assert not torch.allclose(once(*told()), twice(*told()))


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{"iterations": 2}, {"iterations": 1, "repeats": 1}])
def test_nothing_beyond_the_halo_matters(sizes):
    network = shaken(build_network("unrolled", blocks=1, features=8, **sizes)).double()
    x, sigma, kernel, correlation = (t.double() for t in told(n=80, batch=1, fwhm=9.0))
    halo = network.halo(5)
    other = x.clone()
    other[..., 10, 10] += 1.0
    where = (network(x, sigma, kernel, correlation) - network(
        other, sigma, kernel, correlation))[0, 0].abs()
    rows, columns = (torch.nonzero(where.amax(dim=d) > 1e-12).ravel() for d in (1, 0))
    for found in (rows, columns):
        reach = found.max().item() // 2 - 10
        assert halo - 2 <= reach <= halo


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="`channels` must be 1"):
        build_network("unrolled", channels=2)
