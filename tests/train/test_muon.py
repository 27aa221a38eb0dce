"""Steps of one length in all directions, of the size of AdamW's, and what AdamW keeps."""

import numpy as np
import pytest
import torch
from torch import nn

from lenssr.train import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(12, 90), (90, 12), (30, 30)])
def test_singular_values_become_one(shape):
    torch.manual_seed(1)
    matrix = torch.randn(shape) * torch.logspace(0, -1.5, shape[1])
    found = torch.linalg.svdvals(orthogonalized(matrix))
    assert found.min() > 0.5 and found.max() < 1.3
    # The directions are those of the matrix.
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = torch.diagonal(u.T @ orthogonalized(matrix) @ v.T)
    np.testing.assert_allclose(inner, found.sort(descending=True).values[inner.argsort(
        descending=True).argsort()], rtol=1e-3)


def test_who_gets_which_step():
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 1, 3))
    optimizer = Muon(network.parameters(), 1e-2, weight_decay=0.0)
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    moved = [(p - old).detach() for p, old in zip(network.parameters(), before)]
    # The first step of Adam is the learning rate for every element, whatever its gradient.
    for k in (0, 1, 3, 4, 5):
        np.testing.assert_allclose(moved[k].abs(), 1e-2, rtol=2e-2)
    matrix = moved[2].flatten(1)
    # Of 24 singular values from 0.7 to 1.2, in a matrix of 24 x 144.
    assert matrix.square().mean().sqrt().item() == pytest.approx(0.18e-2, rel=0.2)
    assert torch.linalg.svdvals(matrix).std() / torch.linalg.svdvals(matrix).mean() < 0.3


def test_state_goes_on():
    def network():
        torch.manual_seed(3)
        return nn.Conv2d(12, 12, 3)

    def steps(network, optimizer, first, last):
        for k in range(first, last):
            torch.manual_seed(k)
            optimizer.zero_grad()
            network(torch.randn(2, 12, 8, 8)).square().mean().backward()
            optimizer.step()

    whole, halves = network(), network()
    steps(whole, Muon(whole.parameters(), 1e-3, 0.01), 0, 6)
    first = Muon(halves.parameters(), 1e-3, 0.01)
    steps(halves, first, 0, 3)
    second = Muon(halves.parameters(), 1e-3, 0.01)
    second.load_state_dict(first.state_dict())
    steps(halves, second, 3, 6)
    for a, b in zip(whole.parameters(), halves.parameters()):
        assert torch.equal(a, b)
