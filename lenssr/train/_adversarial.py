"""Training against a discriminator: SRGAN, from a network that squared errors have trained."""

import torch
from torch.nn import functional

from lenssr.networks import Discriminator
from lenssr.train._losses import linear
from lenssr.train._trainer import Trainer
from lenssr.train._validation import power_error, validate
from lenssr.train._views import DETAILS, views

__all__ = ["AdversarialTrainer", "SRGANTrainer", "balanced", "relativistic"]

BETAS = (0.5, 0.99)  # of AdamW: averages over more steps follow a game too late


def relativistic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """
    Loss by which what is told of ``real`` is to exceed what is told of ``fake``.

    Relativistic (Jolicoeur-Martineau 2018, arXiv:1807.00734), of each image against one: what both
    share, which of an image and its own truth is nearly all, does not count. A generator takes it
    turned round.
    """
    return functional.softplus(fake - real)


def balanced(content, margin, output, weight) -> torch.Tensor:
    """
    Content loss whose gradient has an adversarial one added to it, alike in every image.

    Images of other noise have gradients of other size, and the better a discriminator, the larger
    are its own. So what it would have changed is taken relative to the gradient of the content
    loss, as Esser et al. (2021, arXiv:2012.09841) do for the last layer, here where both begin. It
    counts twice where the discriminator is sure, once where it guesses, and not where it is wrong,
    as in `relativistic`.
    """
    ours, = torch.autograd.grad(content, output, retain_graph=True)
    theirs, = torch.autograd.grad(margin.sum(), output)
    sizes = [g.flatten(1).norm(dim=1).clamp(min=torch.finfo(g.dtype).tiny) for g in (ours, theirs)]
    share = 2 * weight * margin.detach().sigmoid() * sizes[0] / sizes[1]
    added = (share.reshape(-1, *[1] * (output.dim() - 1)) * theirs * output).sum()
    return content + added - added.detach()


class AdversarialTrainer(Trainer):
    """A `Trainer` with a second network, the judge, which has an optimiser of its own."""

    def __init__(self, recipe, folder, team):
        super().__init__(recipe, folder, team)
        self.rules = recipe.adversarial
        self.judge = self.make_judge().to(self.device)
        self.judge.to(memory_format=torch.channels_last)
        self.court = team.parallel(self.judge)
        self.judge_optimizer = torch.optim.AdamW(
            self.judge.parameters(), self.rules.learning_rate, betas=BETAS)
        for group in self.optimizer.param_groups:
            group["betas"] = BETAS

    def teach(self, real, fake):
        """
        Take a step of the judge by images and their imitations; returns its loss as a number.

        With the squared gradients of what it says of both as penalties the game converges, and
        without the one or the other it need not (Huang et al. 2024, arXiv:2501.05417).
        """
        images = torch.cat([real, fake]).detach().requires_grad_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            told = self.court(images).float()
        slope, = torch.autograd.grad(told.sum(), images, create_graph=True)
        penalty = slope.square().sum(dim=(1, 2, 3)).mean()
        loss = relativistic(*told.chunk(2)).mean()
        self.judge_optimizer.zero_grad(set_to_none=True)
        (loss + self.rules.penalty * penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.judge.parameters(), self.training.clip)
        self.judge_optimizer.step()
        return loss.item()

    def ask(self, *images):
        """What the judge says of images; for the loss of the other network, which it leaves be."""
        self.judge.requires_grad_(False)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                return [self.judge(image).float() for image in images]
        finally:
            self.judge.requires_grad_(True)

    def state(self):
        """What a checkpoint holds."""
        return {**super().state(), "judge": self.judge.state_dict(),
                "judge_optimizer": self.judge_optimizer.state_dict()}

    def take_up(self, state):
        """Take up the state of a checkpoint."""
        super().take_up(state)
        self.judge.load_state_dict(state["judge"])
        self.judge_optimizer.load_state_dict(state["judge_optimizer"])


class SRGANTrainer(AdversarialTrainer):
    """Content and adversarial loss of Ledig et al. (2017, arXiv:1609.04802)."""

    def make_judge(self):
        """The published discriminator, as large as the recipe has it."""
        side = self.recipe.data.size * self.recipe.network["scale"]
        return Discriminator(side, 1 + DETAILS, self.rules.features, self.rules.stages,
                             self.rules.hidden)

    def loss(self, batch):
        """A step of the judge; then the content and adversarial loss of the generator."""
        truth = batch.hr.to(self.device)
        output = self.apply(batch)
        real, fake = views(truth, truth), views(linear(output), truth)
        self.teach(real, fake)
        real, fake = self.ask(real, fake)
        return balanced(self.content(output, batch), real - fake, output, self.rules.weight)

    @staticmethod
    def measure(network, pairs, device):
        """Those of every network, and how far the power of its images is off."""
        return {**validate(network, pairs, device),
                "power_error": power_error(network, pairs, device)}
