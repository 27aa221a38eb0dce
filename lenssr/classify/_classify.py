"""Public function `classify`, and inference with trained classifiers."""

import warnings
from dataclasses import dataclass
from numbers import Number
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from astropy.table import Table

from lenssr._validation import resolve_device
from lenssr.exceptions import LensSRWarning
from lenssr.image import parse_image
from lenssr.networks import MAX_IMAGE_SIDE, MIN_IMAGE_SIDE, N_SYMMETRIES, apply_symmetry
from lenssr.uncertainty import sky_level
from lenssr.weights import load_network

INSIDE_FRACTION = 0.995  # fraction of validation images that count as in distribution
CARD_DIGITS = 5  # significant digits of the numbers in a card


def feature_domain(features, labels, classes):
    """Measure the class means, the widths and the distance limit of classifier features."""
    means = np.stack([features[labels == k].mean(axis=0) for k in range(classes)])
    spread = (features - means[labels]).std(axis=0)
    widths = np.maximum(spread, 1e-3 * spread.max() + 1e-12)
    domain = {"means": _short(means), "widths": _short(widths)}
    domain["distance"] = float(np.quantile(domain_distance(features, domain), INSIDE_FRACTION))
    return domain


def domain_distance(features, domain):
    r"""
    Measure the distance of images from the nearest class mean.

    :math:`\sqrt{\min_k \frac{1}{c} \sum_j (f_j - \mu_{kj})^2 / \sigma_j^2}`, a Mahalanobis
    distance with a diagonal covariance (Lee et al. 2018, arXiv:1807.03888).
    """
    means, widths = np.asarray(domain["means"]), np.asarray(domain["widths"])
    offset = (features[:, None] - means) / widths
    return np.sqrt((offset**2).mean(axis=-1).min(axis=1))


def _short(values):
    """Round numbers for a card."""
    return [_short(v) if np.ndim(v) else float(f"{v:.{CARD_DIGITS}g}") for v in values]


CONFIDENCE_BINS = 10  # bins of the expected calibration error
TEMPERATURE_RANGE = (0.05, 20.0)  # limits of the fitted temperature


def probabilities(logits, temperature=1.0):
    """Compute the softmax of logits divided by a temperature."""
    z = np.asarray(logits, dtype=float) / temperature
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def find_temperature(logits, labels):
    """
    Fit the temperature that maximises the likelihood of the labels (Guo et al. 2017,
    arXiv:1706.04599).
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def likelihood(log_t):
        p = probabilities(logits, np.exp(log_t))[rows, labels]
        return -np.log(np.clip(p, 1e-12, None)).mean()

    result = minimize_scalar(likelihood, bounds=np.log(TEMPERATURE_RANGE), method="bounded")
    return float(np.exp(result.x))


def calibration_error(probabilities, labels, bins=CONFIDENCE_BINS):
    """Compute the expected calibration error of predicted probabilities (Naeini et al. 2015)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bin_index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(bin_index, confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


PREDICTION_BATCH = 64  # images that are classified together


@torch.no_grad()
def predict_logits(network, images):
    """Average the logits of images over the eight symmetries of the square."""
    logits, features = 0.0, 0.0
    for turn in range(N_SYMMETRIES):
        last = network.features(apply_symmetry(images, turn).contiguous())[-1]
        logits = logits + network.classify(last).float() / N_SYMMETRIES
        features = features + last.float().mean(dim=(-2, -1)) / N_SYMMETRIES
    return logits.cpu().numpy(), features.cpu().numpy()


@dataclass
class TrainedClassifier:
    """Trained classifier with its card."""

    network: torch.nn.Module
    card: object
    device: torch.device

    @property
    def classes(self):
        """Class names, in the order of the probabilities."""
        return tuple(self.card.classifier["classes"])

    @property
    def restored_by(self):
        """``SRWEIGHT`` of the training images, or "none" for sharp images."""
        return self.card.classifier.get("restored_by", "none")

    def __call__(self, images):
        """Predict probabilities and out-of-distribution distances of images ``(n, ny, nx)``."""
        all_logits, all_features = [], []
        for start in range(0, len(images), PREDICTION_BATCH):
            part = torch.as_tensor(np.asarray(images[start:start + PREDICTION_BATCH],
                                              dtype=np.float32))
            logits, features = predict_logits(self.network, part[:, None].to(self.device))
            all_logits.append(logits)
            all_features.append(features)
        domain = self.card.classifier["domain"]
        distance = domain_distance(np.concatenate(all_features), domain) / domain["distance"]
        return probabilities(np.concatenate(all_logits),
                             self.card.classifier["temperature"]), distance


def open_classifier(classifier, device=None):
    """Load a `TrainedClassifier` from a weights file."""
    network, card = load_network(classifier)
    if not card.classifier:
        raise ValueError(f"`classifier` must be weights of a classifier, got {card.name!r} of "
                         f"architecture {card.network.get('architecture')!r}")
    device = resolve_device(device)
    return TrainedClassifier(network.to(device, memory_format=torch.channels_last), card, device)


DEFAULT_CLASSIFIER = "classifier-resnet18"
CATALOG_BATCH = 250  # images of a catalogue that are read together


def classify(data, classifier=DEFAULT_CLASSIFIER, *, hdu=None, mask=None, device=None):
    """
    Classify the dark matter in images of lenses.

    The probabilities assume that the classes of the training simulations are equally frequent.
    Temperature scaling calibrates them (Guo et al. 2017, arXiv:1706.04599). They do not depend on
    the unit of the flux, nor on reflections and rotations by right angles.

    Parameters
    ----------
    data : file, HDUList, HDU, NDData, Quantity, array, catalogue, or a list of such images
        Image of one band with sides of 32 to 150 pixels, at the resolution of results of
        `lenssr.superresolve`: a PSF with a FWHM of two pixels. A catalogue of
        `lenssr.simulate.open_catalog`, or its folder, stands for the sharp images of its pairs.
    classifier : str or path-like
        Name of shipped weights, or a ``.safetensors`` file of `train_classifier`. The default
        classifies sharp images without noise. ``"classifier-resnet18-sr-all"`` classifies images
        restored by ``superresolve(..., method="rcan", weights="rcan-all")``.
    hdu : int, str or tuple, optional
        HDU of a file.
    mask : array-like, optional
        Bad pixels of a single image, shape of the image; they are filled from their neighbours.
    device : str, optional
        Torch device; CUDA by default if there is a GPU.

    Returns
    -------
    table : `~astropy.table.Table`
        A row for each image: ``image`` (number), ``class`` (most probable class), ``p_CLASS`` for
        each class (sum one), ``distance`` from the training images, scaled so that the most
        distant of 200 validation images has a distance of one, and ``out_of_domain``. An image is
        out of domain if its distance is above one, or if it was restored with weights other than
        the weights used for the training images. ``meta`` holds the weights.

    Raises
    ------
    ValueError
        If an image is too small, too large, has several bands, no valid pixel or no light, or if
        the weights are not a classifier.
    TypeError, FileNotFoundError
        If an argument has the wrong type, or a file does not exist.

    Warns
    -----
    LensSRWarning
        If images are out of domain, or if a classifier of restored images gets images without
        ``SRWEIGHT`` in the header.

    Examples
    --------
    >>> from lenssr.classify import classify
    >>> from lenssr.simulate import simulate_pair
    >>> pair = simulate_pair("classification", substructure="cdm", seed=2)
    >>> classify(pair.hr).colnames[:2]
    ['image', 'class']
    """
    judge = open_classifier(classifier, device)
    probabilities, distances, restored_by = [], [], []
    for images, weights in _batches(data, hdu, mask):
        logits = judge(images)
        probabilities.append(logits[0])
        distances.append(logits[1])
        restored_by += [weights] * len(images)
    probabilities, distances = np.concatenate(probabilities), np.concatenate(distances)
    foreign = [weights not in (None, judge.restored_by) for weights in restored_by]
    table = Table({"image": np.arange(len(distances)),
                   "class": np.array(judge.classes)[probabilities.argmax(axis=1)]})
    for k, name in enumerate(judge.classes):
        table[f"p_{name}"] = probabilities[:, k]
        table[f"p_{name}"].info.format = ".3f"
    table["distance"] = distances
    table["distance"].info.format = ".2f"
    table["out_of_domain"] = (distances > 1) | foreign
    table.meta = {"classifier": judge.card.name, "sha256": judge.card.sha256[:16],
                  "trained_on": judge.card.recipe["data"]["preset"]}
    _warn_domain(table, judge, restored_by.count(None))
    return table


def _warn_domain(table, judge, unknown):
    inputs = judge.card.recipe["inputs"]
    outside = int(table["out_of_domain"].sum())
    by = f", restored by {Path(inputs['weights']).stem}" if inputs["input"] == "sr" else ""
    if by and unknown:
        warnings.warn(f"headers of {unknown} of {len(table)} images do not state which weights "
                      "restored "
                      f"them; {judge.card.name} says something of those{by} alone",
                      LensSRWarning, stacklevel=3)
    if outside:
        warnings.warn(f"{outside} of {len(table)} images {'is' if outside == 1 else 'are'} unlike "
                      f"those that {judge.card.name} was trained on, of the preset "
                      f"{table.meta['trained_on']}{by}: their probabilities are meaningless",
                      LensSRWarning, stacklevel=3)


def _batches(data, hdu, mask):
    """
    Yield images of one shape as an array ``(n, ny, nx)`` with sky level zero, and their
    ``SRWEIGHT``.
    """
    if isinstance(data, str | Path) and Path(data).is_dir():
        from lenssr.simulate import open_catalog

        data = open_catalog(data)
    if hasattr(data, "hr") and hasattr(data, "table"):
        for start in range(0, len(data), CATALOG_BATCH):
            stop = min(start + CATALOG_BATCH, len(data))
            yield np.stack([_plane(np.asarray(data.hr[i], dtype=float), None, None, f" {i}")[0]
                            for i in range(start, stop)]), "none"
        return
    is_list = _is_list_of_images(data)
    if is_list and mask is not None:
        raise ValueError("`mask` must be None for several images, which have masks of their own")
    for k, item in enumerate(data if is_list else [data]):
        values, restored_by = _plane(item, hdu, mask, f" {k}" if is_list else "")
        yield values[None], restored_by


def _is_list_of_images(data):
    """Return whether ``data`` is a list of images rather than the rows of one image."""
    if not isinstance(data, list | tuple) or isinstance(data, fits.HDUList) or not data:
        return False
    first = data[0]
    return not isinstance(first, list | tuple | Number) and np.ndim(
        first if isinstance(first, np.ndarray) else np.zeros((2, 2))) > 1


def _plane(data, hdu, mask, which):
    """Check image number ``which``, subtract its sky level, and return it with its ``SRWEIGHT``."""
    with warnings.catch_warnings():
        # Images are normalised by their peak, so that the noise unit does not matter.
        warnings.filterwarnings("ignore", "no uncertainty was given", LensSRWarning)
        parsed = parse_image(data, hdu=hdu, mask=mask, unit="")
    planes = parsed.planes
    if len(planes) != 1:
        raise ValueError(f"`data` must be an image of one band, got{which} a cube of "
                         f"{len(planes)}")
    image = planes[0]
    if min(image.shape) < MIN_IMAGE_SIDE or max(image.shape) > MAX_IMAGE_SIDE:
        raise ValueError(
            f"`data` must be an image with sides of {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels, "
            f"got{which} {image.shape[0]} x {image.shape[1]}")
    if image.mask.all():
        raise ValueError(f"`mask` must leave valid pixels, got image{which} with none")
    values = image.data - sky_level(image.data, image.mask, image.noise)
    if not values[~image.mask].max() > 0:
        raise ValueError(f"`data` must have flux above the sky, got image{which} without")
    return values, parsed.header.get("SRWEIGHT")
