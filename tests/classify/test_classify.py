"""The front door of classifiers: whatever holds an image, and what it must be."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.table import Table

from lenssr import LensSRWarning
from lenssr.classify import classify, domain_distance, feature_domain, open_classifier
from lenssr.cli import main
from lenssr.simulate import simulate_catalog, simulate_pair

OUTSIDE = pytest.mark.filterwarnings("ignore:.* unlike those that tiny was trained on")
COLUMNS = ["image", "class", "p_no_sub", "p_cdm", "p_axion", "distance", "out_of_domain"]


@pytest.fixture(scope="module")
def pair():
    return simulate_pair("classification", substructure="cdm", engine="torch", seed=9, size=16)


@pytest.fixture(scope="module")
def image(pair):
    return np.asarray(pair.hr.data, dtype=float)


def chances(table):
    return np.array([table[f"p_{name}"] for name in ("no_sub", "cdm", "axion")]).T


@OUTSIDE
def test_whatever_holds_an_image(tiny, pair, image, tmp_path):
    path = tmp_path / "hr.fits"
    fits.PrimaryHDU(image.astype(np.float32)).writeto(path)
    found = classify(image, tiny)
    assert found.colnames == COLUMNS
    np.testing.assert_allclose(chances(found).sum(axis=1), 1, atol=1e-6)
    assert found["class"][0] == ("no_sub", "cdm", "axion")[chances(found)[0].argmax()]
    for data in (pair.hr, NDData(image), CCDData(image, unit="adu"), image * u.nJy, path,
                 fits.HDUList([fits.PrimaryHDU(image)]), [image], [pair.hr], image.tolist()):
        np.testing.assert_allclose(chances(classify(data, tiny)), chances(found), atol=1e-4)


@OUTSIDE
def test_turned_mirrored_and_scaled(tiny, image):
    found = chances(classify(image, tiny))
    for other in (image[::-1], image.T, np.rot90(image), 1e5 * image):
        np.testing.assert_allclose(chances(classify(other.copy(), tiny)), found, atol=1e-5)


@OUTSIDE
def test_a_mask_is_filled(tiny, image):
    spoilt = image.copy()
    spoilt[3, 4] = 1e9
    mask = spoilt > 1e8
    np.testing.assert_allclose(chances(classify(spoilt, tiny, mask=mask)),
                               chances(classify(image, tiny)), atol=1e-3)


@OUTSIDE
def test_catalogue(tiny, tmp_path):
    catalog = simulate_catalog(tmp_path / "pairs", 4, "classification", engine="torch", seed=9,
                               size=16, progress=False)
    found = classify(catalog, tiny)
    assert found["image"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(chances(classify(tmp_path / "pairs", tiny)), chances(found))
    one_by_one = classify([catalog[i].hr for i in range(4)], tiny)
    np.testing.assert_allclose(chances(one_by_one), chances(found), atol=1e-4)


def test_what_is_unlike_the_training_is_told(tiny):
    noise = np.random.default_rng(0).normal(0, 1, (32, 32))
    with pytest.warns(LensSRWarning, match="1 of 1 images is unlike those that tiny was trained"):
        table = classify(noise, tiny)
    assert table["out_of_domain"][0] and table["distance"][0] > 1


def test_distance_is_that_of_scaled_features():
    rng = np.random.default_rng(3)
    labels = np.arange(3000) % 3
    features = rng.normal(size=(3000, 5)) * [1, 2, 3, 4, 5] + 10 * labels[:, None]
    domain = feature_domain(features, labels, 3)
    outside = domain_distance(features, domain) > domain["distance"]
    assert outside.mean() == pytest.approx(0.005, abs=1e-3)
    away = np.array([[20, 20, 20, 20, 20 + 5 * 5.0]])  # five widths in one of five features
    assert domain_distance(away, domain)[0] == pytest.approx(np.sqrt(5), rel=0.1)


@pytest.mark.parametrize(("data", "options", "error", "message"), [
    (np.ones((20, 40)), {}, ValueError, "`data` must be an image with sides of 32 to 150 .* 20 x"),
    (np.ones((64, 151)), {}, ValueError, "`data` must be an image with sides of 32 to 150"),
    (np.ones((3, 40, 40)), {}, ValueError, "`data` must be an image of one band, got a cube of 3"),
    (np.full((40, 40), np.nan), {}, ValueError, "`mask` must leave|`data` must"),
    (np.eye(40), {"mask": np.ones((40, 40), bool)}, ValueError, "`mask` must leave|`data` must"),
    (np.zeros((40, 40)), {}, ValueError, "`data` must have flux above the sky"),
    ([np.eye(40), np.ones((5, 5))], {}, ValueError, "got 1 5 x 5"),
    ([np.eye(40)], {"mask": np.zeros((40, 40))}, ValueError, "`mask` must be None for several"),
    (None, {}, TypeError, "`data` must be a FITS file"),
    (np.eye(40), {"classifier": "rcan-x2"}, ValueError, "`classifier` must be weights of a class"),
    (np.eye(40), {"classifier": "nothing"}, FileNotFoundError, "`weights` must be the name"),
])
@pytest.mark.filterwarnings("ignore:no uncertainty was given")
def test_bad_input(tiny, data, options, error, message):
    with pytest.raises(error, match=message):
        classify(data, **{"classifier": tiny, **options})


def test_command(tiny, image, tmp_path, capsys):
    path, out = tmp_path / "hr.fits", tmp_path / "table.ecsv"
    fits.PrimaryHDU(image).writeto(path)
    words = ["classify", str(path), str(path), "--classifier", str(tiny), "--out", str(out)]
    assert main(words) == 0
    table = Table.read(out, format="ascii.ecsv")
    assert table["image"].tolist() == [str(path)] * 2
    assert "p_axion" in capsys.readouterr().out
    assert main(words) == 1
    assert "exists already" in capsys.readouterr().err


def test_probabilities_use_the_temperature(tiny, image):
    judge = open_classifier(tiny)
    first, _ = judge(image[None])
    judge.card.classifier["temperature"] *= 1e3
    np.testing.assert_allclose(judge(image[None])[0], 1 / 3, atol=1e-2)
    assert np.abs(first - 1 / 3).max() > np.abs(judge(image[None])[0] - 1 / 3).max()
