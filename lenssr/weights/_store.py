"""Weights as safetensors beside a JSON card; read, checked and written here alone."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path

from lenssr._io import atomic_write

SHIPPED_SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Card:
    """
    What is known of a set of weights.

    Attributes
    ----------
    name : str
        Name, such as ``"rcan-x2"``.
    network : dict
        Architecture and its sizes, as `lenssr.networks.build` takes them.
    parameters : int
        Number of trained values.
    sha256 : str
        Digest of the weights file.
    recipe : dict
        The recipe that made it.
    metrics : dict
        What was measured on the validation set.
    steps : int
        Optimisation steps taken.
    hours : float
        Time taken by them.
    adapted : dict
        How the weights of the recipe were adapted to another domain, if they were.
    calibration : dict
        What is known of the errors of its results, where `lenssr.train.calibrate` measured
        it; see `lenssr.weights.save_calibrated`.
    classifier : dict
        Of a classifier: its ``classes``, its ``temperature``, and the ``domain`` of the images
        that it knows; see `lenssr.classify.train_classifier`.
    psf : dict
        Between what it was told of PSFs in training, where that was noted: ``low`` and ``high``
        of the last four numbers of `lenssr.networks.describe_psf`.
    """

    name: str
    network: dict
    parameters: int
    sha256: str
    recipe: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    steps: int = 0
    hours: float = 0.0
    adapted: dict = field(default_factory=dict)
    calibration: dict = field(default_factory=dict)
    classifier: dict = field(default_factory=dict)
    psf: dict = field(default_factory=dict)

    @property
    def scales(self):
        """Scales that the network does, the first one first."""
        scale = self.network["scale"]
        return tuple(scale) if isinstance(scale, list) else (scale,)


def shipped_weights(architecture):
    """
    Weights of an architecture that come with lenssr.

    Parameters
    ----------
    architecture : str
        Architecture.

    Returns
    -------
    weights : dict
        Their names, by the scales that they do.
    """
    by_scale = {}
    for scale in SHIPPED_SCALES:
        for name in (f"{architecture}-x{scale}", architecture):
            if is_shipped(name) and scale in read_card(find_weights(name)).scales:
                by_scale.setdefault(scale, name)
    return by_scale


def is_shipped(name):
    """Whether weights of that name come with lenssr."""
    return (resources.files("lenssr.weights") / f"{name}.safetensors").is_file()


def find_weights(weights):
    """
    Path of a weights file.

    Parameters
    ----------
    weights : str or path-like
        Name of weights that come with lenssr, or a ``.safetensors`` file.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    shipped = resources.files("lenssr.weights") / f"{weights}.safetensors"
    path = Path(str(shipped)) if shipped.is_file() else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be the name of shipped weights or a "
                                f".safetensors file, got {str(weights)!r}")
    return path


def read_card(path):
    """The `Card` beside a weights file; `ValueError` if it is missing or no card."""
    card_path = Path(path).with_suffix(".json")
    try:
        return Card(**json.loads(card_path.read_text()))
    except FileNotFoundError as err:
        raise ValueError(f"`weights`: {path} has no card {card_path.name} beside it") from err
    except (json.JSONDecodeError, TypeError, UnicodeDecodeError) as err:
        raise ValueError(f"`weights`: {card_path} is not a card of lenssr: {err}") from err


def load_network(weights, architecture=None):
    """
    A trained network in evaluation mode.

    Parameters
    ----------
    weights : str or path-like
        As `find_weights` takes it.
    architecture : str, optional
        What the weights must be of.

    Returns
    -------
    network : `torch.nn.Module`
    card : `Card`

    Raises
    ------
    ValueError
        If the file is damaged, is not what its card says, or is of another
        architecture.
    """
    from lenssr.networks import build_network

    path = find_weights(weights)
    card = read_card(path)
    content = read_verified(path, card.sha256)
    architecture_found = card.network.get("architecture")
    if architecture is not None and architecture_found != architecture:
        raise ValueError(f"`weights` must be of architecture {architecture!r}, "
                         f"{path.name} is of {architecture_found!r}")
    network = build_network(**card.network)
    load_tensors(network, content, path)
    return network.eval(), card


def read_verified(path, sha256):
    """Content of a file of weights; `ValueError` if it is not what the card says."""
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ValueError(f"`weights`: {path} is damaged: its sha256 is {digest[:16]}, "
                         f"its card says {sha256[:16]}")
    return content


def load_tensors(network, content, path):
    """Give a network the tensors of a file of weights; `ValueError` if they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as err:
        raise ValueError(f"`weights`: {path} does not fit the network of its card: {err}") from err


def save_network(path, trained, **fields):
    """
    Write weights and card, each beside its place and then renamed.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file to write; the card goes beside it.
    trained : `torch.nn.Module`
        The network.
    **facts
        Further fields of the `Card`.

    Returns
    -------
    card : `Card`
    """
    from safetensors.torch import save

    path = Path(path)
    content = save({k: v.contiguous().cpu() for k, v in trained.state_dict().items()})
    card = Card(parameters=sum(p.numel() for p in trained.parameters()),
                sha256=hashlib.sha256(content).hexdigest(), **fields)
    write_files({path: content, path.with_suffix(".json"): card_text(card)})
    return card


def card_text(card):
    """The file of a card."""
    return (json.dumps(asdict(card), indent=1) + "\n").encode()


def write_files(contents):
    """Write files, each beside its place and then renamed."""
    for target, content in contents.items():
        with atomic_write(target) as tmp_path:
            tmp_path.write_bytes(content)


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
    head_path = error_file(path)
    if not head_path.is_file():
        raise ValueError(f"`weights`: the card of {path} has a calibration, and {head_path.name} "
                         "is "
                         "not beside it")
    try:
        head = ErrorHead(**calibration["head"])
    except (KeyError, TypeError) as err:
        raise ValueError(f"`weights`: the card of {path} has no calibration of lenssr: "
                         f"{err}") from err
    load_tensors(head, read_verified(head_path, calibration["sha256"]), head_path)
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
        ``correlation`` and metrics; ``domain``: ranges of the features of the input; and how it
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
