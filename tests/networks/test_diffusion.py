"""Diffusion network: orthonormal latent, halos, metadata."""

import pytest
import torch

from lenssr.networks import (
    METADATA,
    N_METADATA_CHANNELS,
    LatentBasis,
    build_network,
    encode_metadata,
)


def small(scale=2, **config):
    torch.manual_seed(1)
    network = build_network("diffusion", base="none", scale=scale, features=8, blocks=2, depth=1,
                            **config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network.double().eval()


def observed(network, n=2, side=24):
    torch.manual_seed(2)
    planes = [10 * torch.randn(n, 1, side * network.scale, side * network.scale),
              *(torch.randn(n, 1, side, side) for _ in range(3)),
              torch.randn(n, N_METADATA_CHANNELS)]
    return [plane.double() for plane in planes]


@pytest.mark.parametrize("side", [4, 6])
def test_latent_is_orthonormal(side):
    latent = LatentBasis(side).double()
    torch.nn.init.normal_(latent.rotation, std=0.3)
    image = torch.randn(2, 1, 5 * side, 4 * side).double()
    coefficients = latent.encode(image)
    assert coefficients.shape == (2, side**2, 5, 4)
    # The basis is stored in single precision.
    assert torch.allclose(latent.decode(coefficients), image, atol=1e-5)
    assert torch.allclose(coefficients.square().sum(), image.square().sum())


def test_latent_begins_with_cosines():
    # A constant has one coefficient, the mean times the side of the cell.
    coefficients = LatentBasis(4).encode(torch.full((1, 1, 8, 8), 3.0))
    assert torch.allclose(coefficients[0, 0], torch.full((2, 2), 12.0))
    assert coefficients[0, 1:].abs().max() < 1e-5


@pytest.mark.parametrize("scale", [2, 3])
def test_latent_of_errors_is_invertible(scale):
    network = small(scale)
    planes = observed(network)
    features = network.encode(*planes)
    assert torch.allclose(network.decode_latent(network.encode_residual(planes[0], features),
                                                features),
                          planes[0], atol=1e-4)


def test_untrained_denoiser_is_optimal_for_unit_variance():
    network = build_network("diffusion", base="none", features=8, blocks=1, depth=1).double()
    noisy, sigma = torch.randn(2, 16, 6, 6).double(), torch.tensor([0.5, 3.0]).double()
    planes = [plane[..., :12 * (2 if k == 0 else 1), :12 * (2 if k == 0 else 1)]
              if plane.dim() == 4 else plane for k, plane in enumerate(observed(network))]
    denoised = network.denoise(noisy, sigma, network.encode(*planes))
    assert torch.allclose(denoised, noisy / (1 + sigma.reshape(-1, 1, 1, 1)**2))


def test_halos_are_exact():
    network = small()
    planes = observed(network, n=1, side=48)

    def changed(function, make):
        """Cells that change with those of the first column."""
        before, after = function(*make(0)), function(*make(1))
        return torch.nonzero((before - after).abs().amax(dim=(0, 1, 2)) > 0).max().item()

    def image(step):
        modified = [plane.clone() for plane in planes]
        modified[1][..., :2] += step
        return modified
    assert changed(lambda *p: network.encode(*p).log_variance, image) == network.encoder_halo
    features = network.encode(*planes)
    noisy = torch.randn(1, 16, 24, 24).double()

    def latent(step):
        modified = noisy.clone()
        modified[..., :1] += step
        return (modified,)
    sigma = torch.ones(1).double()
    assert changed(lambda x: network.denoise(x, sigma, features), latent) == network.halo


def test_unknown_metadata_are_flagged():
    metadata = torch.full((2, 5 + len(METADATA)), torch.nan)
    metadata[:, :5] = 0.0
    encoded = encode_metadata(metadata)
    assert encoded.shape == (2, N_METADATA_CHANNELS) and torch.equal(
        encoded, torch.zeros(2, N_METADATA_CHANNELS))
    metadata[0, 5 + list(METADATA).index("pixel_scale")] = 0.168
    encoded = encode_metadata(metadata)
    # A value at the mean of its range becomes zero, and its flag one.
    assert encoded[0].sum() == 1 and encoded[1].abs().sum() == 0
