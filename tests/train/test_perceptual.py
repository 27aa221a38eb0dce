"""The perceptual loss: VGG-19 by hand, and any network that gives maps of features."""

import dataclasses
import sys
from importlib import resources

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from lenssr.networks import IMAGENET_MEAN, IMAGENET_STD, VGG19
from lenssr.train import Trainer, Training, fit, load_features, perceptual_error, training_loss

# Layers of torchvision's vgg19 that have weights, and their shapes (its source, version 0.20).
SHAPES = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
          14: (256, 256), 16: (256, 256), 19: (512, 256), 21: (512, 512), 23: (512, 512),
          25: (512, 512), 28: (512, 512), 30: (512, 512), 32: (512, 512), 34: (512, 512)}
POOLS = (4, 9, 18, 27, 36)


@pytest.fixture(scope="module")
def state():
    """A random state as torchvision's whole network has it, classifier included."""
    torch.manual_seed(0)
    tensors = {}
    for k, (outputs, inputs) in SHAPES.items():
        tensors[f"features.{k}.weight"] = torch.randn(outputs, inputs, 3, 3) * (
            2 / (9 * inputs)) ** 0.5
        tensors[f"features.{k}.bias"] = 0.1 * torch.randn(outputs)
    return tensors | {"classifier.0.bias": torch.zeros(4096)}


@pytest.fixture(scope="module")
def vgg(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(state, path)
    return str(path)


def scene(side=32, seed=0):
    torch.manual_seed(seed)
    return 20 * torch.rand(2, 1, side, side)


def test_vgg19_layer_by_layer(state, vgg):
    """What torchvision's sequence of layers gives before each of its poolings."""
    x = image = torch.rand(2, 1, 32, 32)
    x = torch.cat([(x - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD)], dim=1)
    by_hand = []
    for k in range(37):
        if k in SHAPES:
            x = functional.conv2d(x, state[f"features.{k}.weight"], state[f"features.{k}.bias"],
                                  padding=1)
        elif k in POOLS:
            by_hand.append(x)
            x = functional.max_pool2d(x, 2)
        else:
            x = functional.relu(x)
    found = load_features(vgg).features(image)
    assert [f.shape[1:] for f in found] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    for one, other in zip(found, by_hand, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_torch_is_the_same(state, vgg, tmp_path):
    torch.save(state, tmp_path / "vgg19.pth")
    one, other = (load_features(f).state_dict() for f in (vgg, str(tmp_path / "vgg19.pth")))
    assert all(torch.equal(one[k], other[k]) for k in one) and len(one) == 32


class Blur(nn.Module):
    """Two maps of features that are easy to compute by hand."""

    def features(self, x):
        return [x, functional.avg_pool2d(x, 2)]


@pytest.fixture
def blur(monkeypatch):
    for user in (perceptual_error, Trainer.__init__):
        monkeypatch.setitem(user.__globals__, "load_features", lambda features: Blur())


def test_error_by_hand(blur):
    truth = scene()
    image = truth + torch.randn_like(truth)

    def seen(x):
        return torch.asinh(20 * x / truth.amax(dim=(1, 2, 3), keepdim=True))

    by_hand = 0
    for size in (1, 2):
        a, b = (functional.avg_pool2d(seen(x), size) for x in (image, truth))
        by_hand += ((a - b) ** 2).mean() / (b**2).mean() / 2
    found = perceptual_error(image, truth, "any")
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert perceptual_error(truth, truth, "any") == 0
    # The wrong brightness is an error too.
    assert perceptual_error(1.1 * truth, truth, "any") > 1e-4


def test_blur_costs_more_than_noise_of_the_same_size(vgg):
    """What the loss is for: of two errors of the same square it minds the loss of structure."""
    truth = functional.interpolate(scene(8), scale_factor=4)
    blurred = functional.avg_pool2d(truth, 5, 1, 2, count_include_pad=False)
    flat = truth + (blurred - truth).square().mean().sqrt()
    assert perceptual_error(blurred, truth, vgg) > perceptual_error(flat, truth, vgg)


def test_a_recipe_trains_with_it(recipe, tmp_path, blur):
    training = dataclasses.replace(
        recipe.training, steps=1, validate_every=1, features="lens",
        loss={"mse": 1.0, "ssim": 0.1, "perceptual": 0.05})
    path = fit(dataclasses.replace(recipe, training=training), tmp_path, device="cpu",
               progress=False)
    assert path.is_file()


def test_gradient_reaches_the_image_alone(vgg):
    truth = scene(16).double()
    output = torch.asinh(truth / 3).requires_grad_()
    training_loss(output + 0.01, truth, 2, Training(loss="perceptual", features=vgg)).backward()
    assert torch.isfinite(output.grad).all() and output.grad.abs().max() > 0
    assert not any(p.requires_grad for p in load_features(vgg).parameters())


def test_images_must_have_room(vgg):
    with pytest.raises(ValueError, match="at least 16 pixels"):
        perceptual_error(scene(15), scene(15), vgg)


@pytest.mark.parametrize("content, message", [
    (None, "must be 'lens', 'vgg19' or a file"), (b"half of it", "cannot be read"),
    ({"features.0.weight": torch.zeros(1)}, "not from torchvision's vgg19")])
def test_files_that_are_no_features(recipe, tmp_path, content, message):
    path = tmp_path / "features.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    training = dataclasses.replace(recipe.training, features=str(path), loss="perceptual")
    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(recipe, training=training), tmp_path / "run", progress=False)


def test_weights_without_maps_of_features():
    from lenssr.weights import find_weights

    with pytest.raises(ValueError, match="with feature maps.* are of FSRCNN"):
        load_features(str(find_weights("fsrcnn-x2")))


def test_no_torchvision_and_no_classifier(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ValueError, match="`features` .* torchvision cannot be imported"):
        load_features.__wrapped__("vgg19")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match="no weights of a classifier come with"):
        load_features.__wrapped__("lens")


def test_torchvision_where_it_is_installed(state, monkeypatch):
    class Models:
        @staticmethod
        def vgg19(weights):
            assert weights == "IMAGENET1K_V1"
            return type("Net", (), {"state_dict": lambda self: state})()

    monkeypatch.setitem(sys.modules, "torchvision", Models)
    monkeypatch.setitem(sys.modules, "torchvision.models", Models)
    found = load_features.__wrapped__("vgg19")
    assert isinstance(found, VGG19)
    torch.testing.assert_close(found.features[34].weight, state["features.34.weight"])
