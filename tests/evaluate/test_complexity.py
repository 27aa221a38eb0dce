"""Multiplications of networks, counted by hand."""

import pytest
import torch
from torch import nn

from lenssr.evaluate import count_macs
from lenssr.networks import build_network

NY, NX = 5, 7
PIXELS = NY * NX


def test_layers():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 6, 3, padding=1)
            self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
            self.linear = nn.Linear(6, 4)
            self.up = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

        def forward(self, x, conditions):
            x = torch.relu(self.grouped(self.conv(x)))
            return self.up(self.linear(x.movedim(1, -1)).movedim(-1, 1))

    by_hand = PIXELS * (9 * 6 + 9 * 6 + 6 * 4 + 16 * 4)
    assert count_macs(Layers().eval(), (NY, NX)) == by_hand


@pytest.mark.parametrize("sizes, by_hand", [
    # Three convolutions on pixels four times as many.
    (dict(architecture="srcnn"), 4 * (81 * 64 + 64 * 32 + 25 * 32)),
    # A kernel of 10 x 10 for each input pixel at the end.
    (dict(architecture="fsrcnn"), 25 * 56 + 56 * 12 + 4 * 9 * 12 * 12 + 12 * 56 + 100 * 56),
    # Its kernels are no modules: eight times the channels on either side.
    (dict(architecture="fsrcnn_equivariant", d=4, s=2, m=1),
     25 * 32 + 32 * 16 + 9 * 16 * 16 + 16 * 32 + 100 * 32),
    (dict(architecture="fast", blocks=2, features=8, conditions=5, collapsed=True),
     9 * (6 * 8 + 2 * 8 * 8 + 8 * 4)),
])
def test_networks(sizes, by_hand):
    network = build_network(**{"scale": 2, **sizes}).eval()
    assert count_macs(network, (NY, NX)) == PIXELS * by_hand


def test_attention_counts_once():
    network = build_network("rcan", groups=1, blocks=1, features=8, reduction=4, window=32).eval()
    plain = 9 * (1 * 8 + 8 * 8 * 4 + 8 * 32) + 4 * 9 * 8
    assert count_macs(network, (NY, NX)) == PIXELS * plain + 2 * 8 * 2


def test_network_that_looks_through_the_telescope():
    scales, blocks, features, memory = [2, 3], 1, 6, 2
    network = build_network("unrolled", scale=scales, iterations=2, blocks=blocks,
                            features=features,
                            memory=memory).eval()
    for scale in scales:
        head = 9 * (2 * scale**2 + 1 + 4 + memory) * features
        tail = 9 * features * (scale**2 + memory)
        by_hand = 2 * (head + 2 * blocks * 9 * features**2 + tail)
        assert count_macs(network, (NY, NX), scale) == PIXELS * by_hand
    assert count_macs(network, (NY, NX)) == count_macs(network, (NY, NX), 2)
