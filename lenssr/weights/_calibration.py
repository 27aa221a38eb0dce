"""What is known of the errors of a network: a head beside its weights, the rest in its card."""

import hashlib
from dataclasses import replace
from pathlib import Path

from lenssr.weights._store import (
    card_text,
    fill_in,
    find_weights,
    read_card,
    read_checked,
    write_files,
)

__all__ = ["error_file", "load_error_head", "save_calibrated"]


def error_file(path):
    """The file beside weights that holds the head which predicts their errors."""
    path = Path(path)
    return path.with_name(f"{path.stem}-error.safetensors")


def load_error_head(weights):
    """
    The head that predicts the errors of a network.

    Parameters
    ----------
    weights : str or path-like
        As `find_weights` takes it.

    Returns
    -------
    head : `torch.nn.Module` or None
        In evaluation mode; None where the card has no calibration.

    Raises
    ------
    ValueError
        If the file of the head is missing, damaged, or not what the card says.
    """
    from lenssr.networks import ErrorHead

    path = find_weights(weights)
    calibration = read_card(path).calibration
    if not calibration:
        return None
    beside = error_file(path)
    if not beside.is_file():
        raise ValueError(f"`weights`: the card of {path} has a calibration, and {beside.name} is "
                         "not beside it")
    try:
        head = ErrorHead(**calibration["head"])
    except (KeyError, TypeError) as err:
        raise ValueError(f"`weights`: the card of {path} has no calibration of lenssr: "
                         f"{err}") from err
    fill_in(head, read_checked(beside, calibration["sha256"]), beside)
    return head.eval()


def save_calibrated(weights, folder, head, calibration):
    """
    Write weights with their calibration, each file beside its place and then renamed.

    Parameters
    ----------
    weights : str or path-like
        As `find_weights` takes it.
    folder : path-like
        Where weights, head and card go; the weights may be there already.
    head : `torch.nn.Module` or None
        The head; it is written in half precision. None for a network whose samples say their
        errors.
    calibration : dict
        ``head``: sizes of the head, if there is one; ``on``: what it was calibrated on;
        ``scales``: for each scale, as text, ``factors`` of the bins of `lenssr.image._snr`,
        ``correlation`` and figures; ``domain``: ranges of the features of the input; and how it
        was made.

    Returns
    -------
    path : `~pathlib.Path`
        The weights in the folder.
    """
    from safetensors.torch import save

    source = find_weights(weights)
    path = Path(folder) / source.name
    files = {path: source.read_bytes()}
    if head is not None:
        content = save({k: v.half().contiguous().cpu() for k, v in head.state_dict().items()})
        files[error_file(path)] = content
        calibration = {**calibration, "parameters": sum(p.numel() for p in head.parameters()),
                       "sha256": hashlib.sha256(content).hexdigest()}
    card = replace(read_card(source), calibration=calibration)
    write_files({**files, path.with_suffix(".json"): card_text(card)})
    return path
