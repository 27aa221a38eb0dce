"""What a classifier says of images, the same however they are turned."""

from dataclasses import dataclass

import numpy as np
import torch

from lenssr.classify._known import distance
from lenssr.classify._temperature import probabilities
from lenssr.train import apply_symmetry
from lenssr.weights import load_network

__all__ = ["TURNS", "Judge", "judge", "open_judge"]

TURNS = 8    # symmetries of the square
AT_ONCE = 64  # images that are looked at together


@torch.no_grad()
def judge(network, images):
    """Mean of what a classifier says over the eight symmetries of the square."""
    logits, features = 0.0, 0.0
    for turn in range(TURNS):
        # The axes of images come first there.
        view = apply_symmetry(images.permute(2, 3, 0, 1), turn).permute(2, 3, 0, 1)
        last = network.features(view.contiguous())[-1]
        logits = logits + network.classify(last).float() / TURNS
        features = features + last.float().mean(dim=(-2, -1)) / TURNS
    return logits.cpu().numpy(), features.cpu().numpy()


@dataclass
class Judge:
    """A trained classifier."""

    network: torch.nn.Module
    card: object
    device: torch.device

    @property
    def classes(self):
        """Names of the classes, in the order of the probabilities."""
        return tuple(self.card.classifier["classes"])

    @property
    def restored_by(self):
        """The ``SRWEIGHT`` of the images that it was trained on; earlier ones saw sharp ones."""
        return self.card.classifier.get("restored_by", "none")

    def __call__(self, images):
        """Probabilities, and distances from what it knows."""
        said, found = [], []
        for start in range(0, len(images), AT_ONCE):
            part = torch.as_tensor(np.asarray(images[start:start + AT_ONCE], dtype=np.float32))
            logits, features = judge(self.network, part[:, None].to(self.device))
            said.append(logits)
            found.append(features)
        domain = self.card.classifier["domain"]
        far = distance(np.concatenate(found), domain) / domain["distance"]
        return probabilities(np.concatenate(said), self.card.classifier["temperature"]), far


def open_judge(classifier, device=None):
    """The `Judge` of a file of weights."""
    network, card = load_network(classifier)
    if not card.classifier:
        raise ValueError(f"`classifier` must be weights of a classifier, got {card.name!r} of "
                         f"architecture {card.network.get('architecture')!r}")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Judge(network.to(device, memory_format=torch.channels_last), card, device)
