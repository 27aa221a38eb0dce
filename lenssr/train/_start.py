"""How a network begins: from trained weights, and with parts of it left as they are."""

import difflib
from fnmatch import fnmatchcase

import torch

from lenssr.weights import load_network

__all__ = ["freeze", "still", "warm_start"]


def warm_start(network, weights, sizes):
    """Take over trained weights."""
    trained, card = load_network(weights)
    if type(trained) is not type(network):
        raise ValueError(f"recipe key `init` must be weights of architecture "
                         f"{sizes['architecture']!r}, {weights!r} is of "
                         f"{card.network['architecture']!r}")
    here, there = sizes.get("scale"), card.network.get("scale")  # classifiers have none
    if here != there:
        raise ValueError(f"recipe key `init` must be weights of scale {here}, got {weights!r} of "
                         f"scale {there}")
    try:
        network.load_state_dict(trained.state_dict())
    except RuntimeError as err:
        other = [f"{key} {card.network.get(key)!r}, not {sizes.get(key)!r}"
                 for key in {**sizes, **card.network} if card.network.get(key) != sizes.get(key)]
        raise ValueError(f"recipe key `init` must be weights of the recipe's network, got "
                         f"{weights!r} with {'; '.join(other) or 'other tensors'}") from err


def freeze(network, patterns):
    """Leave parameters as they are."""
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            parts = {".".join(name.split(".")[:k]) for name in names
                     for k in range(1, name.count(".") + 2)}
            near = difflib.get_close_matches(pattern, sorted(parts), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "there are " + ", ".join(
                sorted({name.split(".")[0] for name in names}))
            raise ValueError(f"recipe key `freeze` must name parameters of the network, "
                             f"{pattern!r} names none; {hint}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not _matches(name, patterns))
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError(f"recipe key `freeze` must leave something to train, got {patterns}")


def still(network, patterns):
    """Keep the statistics of batches, too, in the parts that `freeze` left as they are."""
    for name, module in network.named_modules():
        own = [f"{name}.{key}" for key, _ in module.named_buffers(recurse=False)]
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and own and all(
                _matches(key, patterns) for key in own):
            module.eval()


def _matches(name, patterns):
    """Whether a pattern fits the name, or the beginning of it up to a dot."""
    parts = name.split(".")
    heads = [".".join(parts[:k + 1]) for k in range(len(parts))]
    return any(fnmatchcase(head, pattern.rstrip(".")) for pattern in patterns for head in heads)
