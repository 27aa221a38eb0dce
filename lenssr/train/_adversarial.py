"""Adversarial training: SRGAN and the generator of lensed arcs."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from lenssr.evaluate import radial_power, transfer_function
from lenssr.networks import Discriminator, apply_symmetry, asinh_scale, starlet, to_asinh
from lenssr.train._batch import EVALUATION_BATCH
from lenssr.train._data import CachedPairs
from lenssr.train._losses import linear_image
from lenssr.train._trainer import Trainer
from lenssr.train._validation import power_error, validate

N_OCTAVES = 3  # wavelet scales of the discriminator input
MIN_DETAIL_NOISE = 0.1  # sky noises; details of fainter images are not amplified


def wavelet_details(image: torch.Tensor, octaves: int = N_OCTAVES) -> torch.Tensor:
    """Return the wavelet scales of an image, with mirrored edges."""
    return starlet(image, octaves, "reflect")[:, :-1]


def discriminator_inputs(image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the discriminator inputs: the asinh-scaled image and its wavelet scales."""
    unit = wavelet_details(truth).square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return torch.cat([asinh_scale(image),
                      torch.asinh(wavelet_details(image) / (unit + MIN_DETAIL_NOISE))], dim=1)


DISCRIMINATOR_BETAS = (0.5, 0.99)  # of AdamW: longer averages follow the generator too late


def relativistic_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """
    Compute the relativistic adversarial loss of real and fake scores (Jolicoeur-Martineau
    2018, arXiv:1807.00734).

    Each image is compared with its own target. The generator uses the loss with exchanged
    arguments.
    """
    return functional.softplus(fake - real)


def balanced_adversarial_loss(content, margin, output, weight) -> torch.Tensor:
    """
    Add an adversarial gradient of fixed relative size to a content loss, image by image.

    The adversarial gradient is scaled to the gradient of the content loss at the output, as
    Esser et al. (2021, arXiv:2012.09841) do at the last layer.
    """
    ours, = torch.autograd.grad(content, output, retain_graph=True)
    theirs, = torch.autograd.grad(margin.sum(), output)
    norms = [g.flatten(1).norm(dim=1).clamp(min=torch.finfo(g.dtype).tiny) for g in (ours, theirs)]
    factor = 2 * weight * margin.detach().sigmoid() * norms[0] / norms[1]
    added = (factor.reshape(-1, *[1] * (output.dim() - 1)) * theirs * output).sum()
    return content + added - added.detach()


class AdversarialTrainer(Trainer):
    """Trainer with a discriminator and its optimiser."""

    def __init__(self, recipe, folder, distributed):
        super().__init__(recipe, folder, distributed)
        self.options = recipe.adversarial
        self.judge = self.make_discriminator().to(self.device)
        self.judge.to(memory_format=torch.channels_last)
        self.discriminator_ddp = distributed.parallel(self.judge)
        self.judge_optimizer = torch.optim.AdamW(
            self.judge.parameters(), self.options.learning_rate, betas=DISCRIMINATOR_BETAS)
        for group in self.optimizer.param_groups:
            group["betas"] = DISCRIMINATOR_BETAS

    def update_discriminator(self, real, fake):
        """
        Take a step of the discriminator and return its loss.

        Gradient penalties on real and fake images make the training converge (Huang et al.
        2024, arXiv:2501.05417).
        """
        images = torch.cat([real, fake]).detach().requires_grad_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            score = self.discriminator_ddp(images).float()
        slope, = torch.autograd.grad(score.sum(), images, create_graph=True)
        penalty = slope.square().sum(dim=(1, 2, 3)).mean()
        loss = relativistic_loss(*score.chunk(2)).mean()
        self.judge_optimizer.zero_grad(set_to_none=True)
        (loss + self.options.penalty * penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.judge.parameters(), self.training.clip)
        self.judge_optimizer.step()
        return loss.item()

    def discriminate(self, *images):
        """Score images with the frozen discriminator."""
        self.judge.requires_grad_(False)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                return [self.judge(image).float() for image in images]
        finally:
            self.judge.requires_grad_(True)

    def state(self):
        """Return the state for a checkpoint."""
        return {**super().state(), "judge": self.judge.state_dict(),
                "judge_optimizer": self.judge_optimizer.state_dict()}

    def load_state_dict(self, state):
        """Load the state of a checkpoint."""
        super().load_state_dict(state)
        self.judge.load_state_dict(state["judge"])
        self.judge_optimizer.load_state_dict(state["judge_optimizer"])


class SRGANTrainer(AdversarialTrainer):
    """Trainer with the content and adversarial loss of Ledig et al. (2017, arXiv:1609.04802)."""

    def make_discriminator(self):
        """Make the discriminator of SRGAN with the size of the recipe."""
        side = self.recipe.data.size * self.recipe.network["scale"]
        return Discriminator(side, 1 + N_OCTAVES, self.options.features, self.options.stages,
                             self.options.hidden)

    def loss(self, batch):
        """Update the discriminator; return the content and adversarial loss of the generator."""
        truth = batch.hr.to(self.device)
        output = self.apply(batch)
        real, fake = discriminator_inputs(truth, truth), discriminator_inputs(linear_image(output),
                                                                              truth)
        self.update_discriminator(real, fake)
        real, fake = self.discriminate(real, fake)
        return balanced_adversarial_loss(self.content(output, batch), real - fake, output,
                                         self.options.weight)

    @staticmethod
    def measure(network, pairs, device):
        """Measure the metrics of a network and the error of its power spectrum."""
        return {**validate(network, pairs, device),
                "power_error": power_error(network, pairs, device)}


N_JUDGED_IMAGES = 512  # generated images that are compared with true images


class ArcBatch(NamedTuple):
    """True light images ``(batch, 1, side, side)`` and their scene numbers."""

    images: torch.Tensor
    indices: list


class ArcImages(CachedPairs):
    """Cached scenes without a telescope: light on output pixels, relative to its peak."""

    def __init__(self, recipe, validation=False, progress=False):
        scale, side = recipe.network["scale"], recipe.network["side"]
        super().__init__(recipe.data, scale, validation, progress, recipe.training.seed)
        if self.optics.n // self.optics.fine != side:
            raise ValueError(f"recipe key `side` must be {self.optics.n // self.optics.fine}, the "
                             f"side of the scenes with margins in output pixels, got {side}")

    def take(self, indices, draws):
        """Return the `ArcBatch` of scenes, with random symmetries."""
        scenes, _ = self.bank.take(self.opened, indices)
        images = functional.avg_pool2d(torch.from_numpy(scenes)[:, None], self.optics.fine)
        turns = draws.integers(8).tolist()
        images = torch.stack([apply_symmetry(image[0], turn) for image, turn in zip(images, turns)])
        return ArcBatch(to_asinh(images)[:, None], [int(i) for i in indices])

    def psfs(self):
        return {}


class ArcTrainer(AdversarialTrainer):
    """Trainer of a generator of light images against a discriminator."""

    open_pairs = ArcImages

    def make_discriminator(self):
        """Make the discriminator of SRGAN, with 2x2 pixels as channels."""
        return Discriminator(self.network.side // 2, 4, self.options.features, self.options.stages,
                             self.options.hidden)

    def loss(self, batch):
        """Update the discriminator; return the loss of the generator."""
        real = functional.pixel_unshuffle(batch.images.to(self.device), 2)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            fake = self.model(torch.randn(len(real), self.network.latent, device=self.device))
        fake = functional.pixel_unshuffle(fake.float(), 2)
        self.update_discriminator(real, fake)
        real, fake = self.discriminate(real, fake)
        return self.options.weight * relativistic_loss(fake, real).mean()

    @staticmethod
    @torch.no_grad()
    def measure(network, pairs, device):
        """Measure the power-spectrum error and the variety of generated images."""
        true = torch.cat([batch.images for batch in pairs.batches()])[:N_JUDGED_IMAGES, 0]
        z = torch.randn(len(true), network.latent, generator=torch.Generator().manual_seed(0))
        made = torch.cat([network(part.to(device)).cpu()
                          for part in z.split(EVALUATION_BATCH)])[:, 0]
        power = [sum(radial_power(image, image)[0] for image in images.numpy())
                 for images in (made, true)]
        spread = [torch.pdist(functional.avg_pool2d(images, 4).flatten(1)).mean().item()
                  for images in (made, true)]
        return {"power_error": float(np.nanmean(abs(transfer_function([*power, power[1]])[0] - 1))),
                "spread": spread[0] / spread[1]}
