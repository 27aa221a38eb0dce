"""Training of a generator of arcs."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from lenssr.evaluate import radial_power, transfer_function
from lenssr.networks import Discriminator, to_asinh
from lenssr.train._adversarial import AdversarialTrainer, relativistic
from lenssr.train._batch import EVALUATION_BATCH, apply_symmetry
from lenssr.train._data import BankPairs

__all__ = ["ArcImages", "ArcTrainer"]

JUDGED = 512  # images that are made to be compared with true ones


class ArcBatch(NamedTuple):
    """True images as the generator's are, ``(batch, 1, side, side)``, and which they are."""

    images: torch.Tensor
    indices: list


class ArcImages(BankPairs):
    """The scenes of a bank without a telescope: light on output pixels, relative to its peak."""

    def __init__(self, recipe, validation=False, progress=False):
        scale, side = recipe.network["scale"], recipe.network["side"]
        super().__init__(recipe.data, scale, validation, progress, recipe.training.seed)
        if self.optics.n // self.optics.fine != side:
            raise ValueError(f"recipe key `side` must be {self.optics.n // self.optics.fine}, that "
                             f"of the scenes with their margins in output pixels, got {side}")

    def take(self, indices, draws):
        """The `ArcBatch` of these scenes, turned and mirrored at random."""
        scenes, _ = self.bank.take(self.opened, indices)
        images = functional.avg_pool2d(torch.from_numpy(scenes)[:, None], self.optics.fine)
        turns = draws.integers(8).tolist()
        images = torch.stack([apply_symmetry(image[0], turn) for image, turn in zip(images, turns)])
        return ArcBatch(to_asinh(images)[:, None], [int(i) for i in indices])

    def psfs(self):
        return {}


class ArcTrainer(AdversarialTrainer):
    """A generator of images out of random numbers, against a judge of them."""

    open_pairs = ArcImages

    def make_judge(self):
        """The discriminator of SRGAN, which sees the four pixels of each 2x2 side by side."""
        return Discriminator(self.network.side // 2, 4, self.rules.features, self.rules.stages,
                             self.rules.hidden)

    def loss(self, batch):
        """A step of the judge, then the loss of the generator."""
        real = functional.pixel_unshuffle(batch.images.to(self.device), 2)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            fake = self.model(torch.randn(len(real), self.network.latent, device=self.device))
        fake = functional.pixel_unshuffle(fake.float(), 2)
        self.teach(real, fake)
        real, fake = self.ask(real, fake)
        return self.rules.weight * relativistic(fake, real).mean()

    @staticmethod
    @torch.no_grad()
    def measure(network, pairs, device):
        """How far the power of generated images is off, and how varied they are."""
        true = torch.cat([batch.images for batch in pairs.batches()])[:JUDGED, 0]
        z = torch.randn(len(true), network.latent, generator=torch.Generator().manual_seed(0))
        made = torch.cat([network(part.to(device)).cpu()
                          for part in z.split(EVALUATION_BATCH)])[:, 0]
        power = [sum(radial_power(image, image)[0] for image in images.numpy())
                 for images in (made, true)]
        spread = [torch.pdist(functional.avg_pool2d(images, 4).flatten(1)).mean().item()
                  for images in (made, true)]
        return {"power_error": float(np.nanmean(abs(transfer_function([*power, power[1]])[0] - 1))),
                "spread": spread[0] / spread[1]}
