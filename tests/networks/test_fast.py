"""Collapsible network: size and equality of the collapsed form."""

import pytest
import torch

from lenssr.networks import build_network


def perturbed(**config):
    """Network with perturbed weights."""
    torch.manual_seed(0)
    network = build_network("fast", conditions=5, **config).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_size_collapsed(scale):
    network = build_network("fast", scale=scale, conditions=5, collapsed=True)
    assert sum(p.numel() for p in network.parameters()) < 200_000


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_collapsed_output_is_equal(scale):
    network = perturbed(scale=scale, channels=2, blocks=4, features=16)
    plain = network.collapse()
    x, conditions = 5 * torch.rand(1, 2, 16, 16), torch.randn(1, 5)
    with torch.inference_mode():
        wide, narrow = network(x, conditions), plain(x, conditions)
    assert (wide - narrow).abs().max() < 1e-5 * wide.abs().max()
    assert not plain.training


def test_collapsed_is_plain_and_loads():
    plain = perturbed(blocks=2, features=8).collapse()
    types = {type(m) for m in plain.modules() if not list(m.children())}
    assert types == {torch.nn.Conv2d, torch.nn.PReLU}
    loaded = build_network("fast", blocks=2, features=8, conditions=5, collapsed=True).eval()
    loaded.load_state_dict(plain.state_dict())
    x, conditions = torch.rand(1, 1, 9, 9), torch.randn(1, 5)
    torch.testing.assert_close(loaded(x, conditions), plain(x, conditions))


def test_collapse_of_the_collapsed_and_of_a_copy():
    network = perturbed(blocks=2, features=8)
    plain = network.collapse()
    again = plain.collapse()
    again.head.weight.data += 1  # must not change the first network
    torch.testing.assert_close(plain.head.weight, network.head.kernel())


def test_wide_layers_are_trained():
    network = perturbed(blocks=2, features=8)
    network(torch.rand(1, 1, 9, 9), torch.randn(1, 5)).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())
