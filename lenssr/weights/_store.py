"""Weights in safetensors files, each beside a JSON card, and their error heads."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path

from lenssr._io import atomic_write

SHIPPED_SCALES = (2, 3, 4)  # magnifications for which weights may be shipped


@dataclass(frozen=True)
class Card:
    """
    Metadata of a set of weights.

    Parameters
    ----------
    name : str
        Name, such as ``"rcan-x2"``.
    network : dict
        Architecture and its parameters, as `lenssr.networks.build_network` takes them.
    parameters : int
        Number of trained values.
    sha256 : str
        Digest of the weights file.
    recipe : dict
        Recipe of the training.
    metrics : dict
        Metrics of the validation set.
    steps : int
        Optimisation steps.
    hours : float
        Duration of the training.
    adapted : dict
        Options of the domain adaptation, if there was one; see `lenssr.train.adapt`.
    calibration : dict
        Calibration of the errors by `lenssr.train.calibrate`; see `save_calibrated`.
    classifier : dict
        ``classes``, ``temperature`` and ``domain`` of a classifier; see
        `lenssr.classify.train_classifier`.
    psf : dict
        Range of the PSFs in training, if it was recorded: ``low`` and ``high`` of the last four
        numbers of `lenssr.networks.psf_features`.

    Examples
    --------
    >>> from lenssr.weights import Card
    >>> Card("mine", {"architecture": "srcnn", "scale": 2}, parameters=8129, sha256="").scales
    (2,)
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
        """Magnifications of the network, a tuple of `int`."""
        scale = self.network["scale"]
        return tuple(scale) if isinstance(scale, list) else (scale,)


def shipped_weights(architecture):
    """
    Return the names of the shipped weights of an architecture.

    Parameters
    ----------
    architecture : str
        Name of the architecture.

    Returns
    -------
    weights : dict
        Names of weights, by magnification.

    Examples
    --------
    >>> from lenssr.weights import shipped_weights
    >>> shipped_weights("fast")
    {2: 'fast-x2', 4: 'fast-x4'}
    """
    by_scale = {}
    for scale in SHIPPED_SCALES:
        for name in (f"{architecture}-x{scale}", architecture):
            if is_shipped(name) and scale in read_card(find_weights(name)).scales:
                by_scale.setdefault(scale, name)
    return by_scale


def is_shipped(name):
    """
    Return whether weights of a name are shipped with lenssr.

    Parameters
    ----------
    name : str
        Name of the weights.

    Returns
    -------
    shipped : bool

    Examples
    --------
    >>> from lenssr.weights import is_shipped
    >>> is_shipped("rcan-x2"), is_shipped("rcan-x5")
    (True, False)
    """
    return (resources.files("lenssr.weights") / f"{name}.safetensors").is_file()


def find_weights(weights):
    """
    Return the path of a weights file.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file.

    Returns
    -------
    path : `~pathlib.Path`
        Path of the file.

    Raises
    ------
    FileNotFoundError
        If there are neither shipped weights nor a file of that name.

    Examples
    --------
    >>> from lenssr.weights import find_weights
    >>> find_weights("rcan-x2").name
    'rcan-x2.safetensors'
    """
    shipped = resources.files("lenssr.weights") / f"{weights}.safetensors"
    path = Path(str(shipped)) if shipped.is_file() else Path(weights)
    if not path.is_file():
        raise FileNotFoundError("`weights` must be the name of shipped weights or a "
                                f".safetensors file, got {str(weights)!r}")
    return path


def read_card(weights):
    """
    Read the card of weights.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file.

    Returns
    -------
    card : `Card`
        Metadata of the weights.

    Raises
    ------
    ValueError
        If the card is missing or invalid.

    Examples
    --------
    >>> from lenssr.weights import read_card
    >>> read_card("unrolled").scales
    (2, 3, 4)
    """
    path = find_weights(weights)
    card_path = path.with_suffix(".json")
    try:
        return Card(**json.loads(card_path.read_text()))
    except FileNotFoundError as err:
        raise ValueError(f"`weights`: {path} has no card {card_path.name} beside it") from err
    except (json.JSONDecodeError, TypeError, UnicodeDecodeError) as err:
        raise ValueError(f"`weights`: {card_path} is not a card of lenssr: {err}") from err


def load_network(weights, architecture=None):
    """
    Load a trained network in evaluation mode.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file.
    architecture : str, optional
        Required architecture.

    Returns
    -------
    network : `torch.nn.Module`
        The network.
    card : `Card`
        Metadata of the weights.

    Raises
    ------
    ValueError
        If the file is damaged, does not match its card, or has another architecture.

    Examples
    --------
    >>> from lenssr.weights import load_network
    >>> network, card = load_network("fast-x2")
    >>> card.network["features"]
    40
    """
    from lenssr.networks import build_network

    path = find_weights(weights)
    card = read_card(path)
    content = _read_verified(path, card.sha256)
    card_architecture = card.network.get("architecture")
    if architecture not in (None, card_architecture):
        raise ValueError(f"`weights` must be of architecture {architecture!r}, "
                         f"{path.name} is of {card_architecture!r}")
    network = build_network(**card.network)
    _load_tensors(network, content, path)
    return network.eval(), card


def _read_verified(path, sha256):
    """Read a weights file; raise `ValueError` unless it has the digest ``sha256``."""
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ValueError(f"`weights`: {path} is damaged: its sha256 is {digest[:16]}, "
                         f"its card says {sha256[:16]}")
    return content


def _load_tensors(network, content, path):
    """Load the content of a weights file into a network; raise `ValueError` on a mismatch."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as err:
        raise ValueError(f"`weights`: {path} does not fit the network of its card: {err}") from err


def _encode(tensors):
    """Content of a safetensors file, and its digest."""
    from safetensors.torch import save

    content = save({name: value.contiguous().cpu() for name, value in tensors.items()})
    return content, hashlib.sha256(content).hexdigest()


def _write_files(contents, path, card):
    """Write files ``{path: bytes}`` and the card of the weights ``path``, all atomically."""
    card_text = (json.dumps(asdict(card), indent=1) + "\n").encode()
    for target, content in {**contents, path.with_suffix(".json"): card_text}.items():
        with atomic_write(target) as tmp_path:
            tmp_path.write_bytes(content)


def save_network(path, model, **fields):
    """
    Write the weights and the card of a network.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file to write, with the card beside it.
    model : `torch.nn.Module`
        The network.
    **fields
        Fields of the `Card`, at least ``name`` and ``network``.

    Returns
    -------
    card : `Card`
        Metadata of the weights.

    Examples
    --------
    >>> import tempfile
    >>> from lenssr.networks import build_network
    >>> from lenssr.weights import save_network
    >>> config = {"architecture": "srcnn", "scale": 2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     card = save_network(f"{folder}/mine.safetensors", build_network(**config),
    ...                         name="mine", network=config)
    >>> card.parameters
    8129
    """
    path = Path(path)
    content, sha256 = _encode(model.state_dict())
    card = Card(parameters=sum(p.numel() for p in model.parameters()), sha256=sha256,
                **fields)
    _write_files({path: content}, path, card)
    return card


def error_file(path):
    """
    Return the path of the error head that belongs to weights.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file of the weights.

    Returns
    -------
    head_path : `~pathlib.Path`
        Path of the error head.

    Examples
    --------
    >>> from lenssr.weights import error_file
    >>> error_file("mine.safetensors").name
    'mine-error.safetensors'
    """
    path = Path(path)
    return path.with_name(f"{path.stem}-error.safetensors")


def load_error_head(weights):
    """
    Load the head that predicts the errors of a network.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file.

    Returns
    -------
    head : `torch.nn.Module` or None
        The head in evaluation mode; `None` if the weights are not calibrated.

    Raises
    ------
    ValueError
        If the file of the head is missing, damaged, or does not match the card.

    Examples
    --------
    >>> from lenssr.weights import load_error_head
    >>> load_error_head("fast-x2").halo
    10
    """
    from lenssr.networks import ErrorHead

    path = find_weights(weights)
    calibration = read_card(path).calibration
    if not calibration:
        return None
    head_path = error_file(path)
    if not head_path.is_file():
        raise ValueError(f"`weights`: the card of {path} has a calibration, and {head_path.name} "
                         "is not beside it")
    try:
        head = ErrorHead(**calibration["head"])
    except (KeyError, TypeError) as err:
        raise ValueError(f"`weights`: the card of {path} has no calibration of lenssr: "
                         f"{err}") from err
    _load_tensors(head, _read_verified(head_path, calibration["sha256"]), head_path)
    return head.eval()


def save_calibrated(weights, folder, head, calibration):
    """
    Write weights with their calibration.

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file.
    folder : path-like
        Folder for weights, head and card; it may be the folder of the weights.
    head : `torch.nn.Module` or None
        Error head, which is written in half precision; `None` for a network whose posterior
        samples yield the errors.
    calibration : dict
        ``head``: parameters of the head, if there is one; ``on``: calibration data; ``scales``:
        for each magnification, as text, ``factors`` of the bins of S/N and crowding,
        ``correlation`` and metrics; ``domain``: range of the features of the input; options.

    Returns
    -------
    path : `~pathlib.Path`
        The weights in the folder.

    Examples
    --------
    >>> import tempfile
    >>> from lenssr.weights import load_error_head, read_card, save_calibrated
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_calibrated("fast-x2", folder, load_error_head("fast-x2"),
    ...                            read_card("fast-x2").calibration)
    >>> path.name
    'fast-x2.safetensors'
    """
    source = find_weights(weights)
    path = Path(folder) / source.name
    contents = {path: source.read_bytes()}
    if head is not None:
        content, sha256 = _encode(
            {name: value.half() for name, value in head.state_dict().items()})
        contents[error_file(path)] = content
        calibration = {**calibration, "sha256": sha256,
                       "parameters": sum(p.numel() for p in head.parameters())}
    _write_files(contents, path, replace(read_card(source), calibration=calibration))
    return path
