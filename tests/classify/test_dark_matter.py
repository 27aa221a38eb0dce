"""Parts of the experiment: the same lenses in all ways, twins, and tables."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from lenssr.classify import (
    RESTORERS,
    SUBHALO_MASSES,
    ClassifierRecipe,
    Restorations,
    RestoredImages,
    TrainingPlan,
    confusion_table,
    dark_matter,
    exceeds_threshold,
    lens_images,
    open_restorations,
    restore_consistently,
    restorer_from_method,
    roc_table,
    scores_table,
    subhalo_table,
    twin_series,
    without_folders,
)
from lenssr.cli import main
from lenssr.methods import DataResidual
from lenssr.simulate import CLASSES, PairSeries
from lenssr.train import Recipe
from lenssr.weights import find_weights


@pytest.fixture(scope="module")
def batch():
    return PairSeries("classification", substructure=CLASSES, seed=5, engine="torch").batch(
        range(3))


def test_sights_of_one_lens(batch):
    sights = Restorations.with_consistent({"bilinear": restorer_from_method("bilinear")},
                                          ["bilinear"])
    seen = sights(batch)
    assert list(seen) == ["HR", "bilinear", "bilinear, data-consistent"]
    images, truths = lens_images(batch)
    np.testing.assert_array_equal(seen["HR"], truths)
    for image, truth, found in zip(images, truths, seen["bilinear, data-consistent"]):
        # The truth explains the data, and so does what was moved to them.
        assert DataResidual(image, 2).chi2(truth) == pytest.approx(1, abs=0.2)
        assert DataResidual(image, 2).chi2(found) < 1.001
    # What is missing alone is made.
    only = Restorations.only({"bilinear": sights.restorers["bilinear"]})
    assert list(only(batch)) == ["bilinear"]


def test_what_agrees_is_left_alone(batch):
    image, truth = (part[0] for part in lens_images(batch))
    data = DataResidual(image, 2).operator.forward(truth)
    quiet = replace(image, data=data)
    np.testing.assert_array_equal(restore_consistently(lambda _: truth, quiet), truth)


def test_twins_differ_by_their_subhalo_alone():
    series = twin_series("classification", 2, 7)
    made = {mass: each.batch([0, 1]) for mass, each in series.items()}
    assert tuple(made) == SUBHALO_MASSES
    lightest = made[SUBHALO_MASSES[0]]
    change = [float((made[mass].truth - lightest.truth).abs().max() / lightest.truth.max())
              for mass in SUBHALO_MASSES[1:]]
    assert change == sorted(change) and change[0] < 2e-2 < change[-1]
    for each in made.values():
        assert [m.substructure.name for m in each.models] == ["no_sub", "no_sub"]
        np.testing.assert_allclose(each.psf, lightest.psf)


def test_tables():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    sure = np.eye(3)[labels] * 0.9 + 0.1 / 3
    guess = rng.dirichlet([1, 1, 1], 300)
    verdicts = {("HR", "HR"): sure, ("HR", "bilinear"): guess}
    far = {("HR", "HR"): np.linspace(0, 0.99, 300), ("HR", "bilinear"): np.arange(300) / 100}
    snr = np.repeat([20.0, 150.0], 150)
    half = np.where(snr[:, None] > 100, sure, guess)
    scores = scores_table({("HR", "half"): half}, labels, CLASSES, {("HR", "half"): 0 * snr}, snr)
    assert scores["accuracy_above_100"][0] == 1 and np.isnan(scores["accuracy_50_to_100"][0])
    assert scores["accuracy"][0] == pytest.approx((1 + scores["accuracy_below_50"][0]) / 2)
    scores = scores_table(verdicts, labels, CLASSES, far, snr)
    assert scores["out_of_domain"].tolist() == pytest.approx([0, 199 / 300])
    assert scores["accuracy"][0] == 1 and scores["auc_no_sub"][0] == 1
    assert scores["accuracy_low"][1] < scores["accuracy"][1] < scores["accuracy_high"][1]
    assert abs(scores["auc_cdm"][1] - 0.5) < 0.1
    assert scores["calibration_error"][0] == pytest.approx(1 - (0.9 + 0.1 / 3))
    matrix = confusion_table(verdicts, labels, CLASSES)
    assert [row["said_cdm"] for row in matrix[:3]] == [0, 100, 0]
    curves = roc_table(verdicts, labels, CLASSES)
    assert curves["HR | HR | axion"][0] == 1 and curves["HR | bilinear | cdm"][-1] == 1


def test_false_positives_are_counted_at_one_threshold():
    rng = np.random.default_rng(1)
    sharp, other = 1 - rng.beta(8, 2, 1000), np.ones(1000)
    table = subhalo_table({("HR", "HR"): sharp, ("HR", "SR"): other, ("LR", "bilinear"): sharp**2},
                          {1e9: {("HR", "HR"): sharp, ("HR", "SR"): other,
                                 ("LR", "bilinear"): 0 * other}},
                          {"HR": "HR", "LR": "bilinear"})
    false, ratio = table["false_positive"], table["ratio"]
    # Of thresholds that half of the lenses give: 5 per cent, to 1 per cent.
    assert false[0] == pytest.approx(0.05, abs=0.02) and false[1] == 1
    # The order of the lenses is the same, and so are those beyond the threshold.
    assert false[2] == false[0]
    assert ratio.tolist() == pytest.approx([1, 1 / false[0], 1])
    # Of fifty lenses: about 2 / sqrt(50) to either side.
    assert table["ratio_low"][1] == pytest.approx(ratio[1] / 1.28, rel=0.1)
    assert table["found_1e9"].tolist() == [0.05, 1, 0]


def test_no_lens_is_among_those_of_its_threshold():
    chances = np.array([0.0, 10, 1, 11, 2, 12])
    assert exceeds_threshold(chances, 0.5).tolist() == [11, 1, 11, 1, 11, 1]


def test_plan(tmp_path):
    plan = TrainingPlan(tmp_path)
    assert plan.classifier_recipe("hr") == ClassifierRecipe.read("classifier_resnet18")
    assert plan.restorer_recipe("all") == Recipe.read("rcan_all")
    for name, classes in RESTORERS.items():
        assert tuple(plan.restorer_recipe(name).data.substructure) == classes


def test_shipped_weights_are_not_trained_again(tmp_path):
    shipped = find_weights("classifier-resnet18")
    assert TrainingPlan(tmp_path).classifier() == shipped
    assert TrainingPlan(tmp_path).restorer("all") == find_weights("rcan-all")
    restored = TrainingPlan(tmp_path).classifier("sr", "all")
    assert restored == find_weights("classifier-resnet18-sr-all")
    assert TrainingPlan(tmp_path, effort=0.5).classifier_recipe("hr").training.steps == 1500
    # Other classifiers start from the shipped one.
    noisy = TrainingPlan(tmp_path).classifier_recipe("hr", None, 0.03)
    assert noisy.training.init == str(shipped)


@pytest.mark.parametrize(("words", "message"), [
    (["a", "b"], "`--experiment dark-matter` must be given with one preset at the most"),
    (["--methods", "rcan"], "`--experiment dark-matter` must be given with one preset"),
    (["nowhere"], "`preset` must be one of"),
    (["--n", "0"], "`n` must be a positive integer, got 0"),
])
def test_wrong_commands(words, message, tmp_path, capsys):
    command = ["benchmark", "--experiment", "dark-matter", "--out", str(tmp_path), *words]
    assert main(command) == 1
    assert message in capsys.readouterr().err


def test_images_of_other_weights_are_made_anew(tmp_path):
    series = PairSeries("classification", substructure=("no_sub",), seed=5, engine="torch")
    bilinear, nothing = restorer_from_method("bilinear"), lambda image: np.zeros((64, 64))

    _, marks = open_restorations(TrainingPlan(tmp_path), (), "cpu")
    assert set(marks) == {"unrolled"}  # of those that come with lenssr it alone has weights

    def seen(way, mark):
        sights = Restorations.with_consistent({"way": way}, ["way"])
        return RestoredImages(tmp_path, sights, {"way": mark}, False)(series, 2,
                                                                      "pairs")

    first = seen(bilinear, "one")
    assert first["way"].max() > 0
    for way, images in seen(nothing, "one").items():
        np.testing.assert_array_equal(images, first[way])
    assert not seen(nothing, "two")["way"].any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unlike those that tiny")
def test_experiment_from_end_to_end(tiny, tmp_path, monkeypatch):
    """All of it but the trainings, on few lenses; a second run makes no image again."""
    monkeypatch.setattr(TrainingPlan, "classifier", lambda self, *looks: tiny)
    options = dict(n=6, n_twins=1, restorers=())
    found = dark_matter(tmp_path / "out", runs=tmp_path / "runs", **options)
    assert set(found.scores["images"]) >= {
        "HR", "bilinear", "wiener", *(f"{way}, {label}" for way in ("HR", "bilinear")
                                      for label in ("unmatched", "physical"))}
    assert set(found.subhalos["classifier"]) == set(found.scores["classifier"])
    assert "HR" in found.subhalos["images"] and "found_1e10" in found.subhalos.colnames
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [f"dark-matter{end}" for end in (
        "-confusion.ecsv", "-roc.ecsv", "-scores.ecsv", "-subhalos.ecsv", ".png")]
    assert str(found).startswith("Classes told apart")
    with pytest.raises(OSError, match="exists already"):
        dark_matter(tmp_path / "out", runs=tmp_path / "runs", **options)
    monkeypatch.setattr(RestoredImages, "_make", None)
    again = dark_matter(tmp_path / "out", runs=tmp_path / "runs", overwrite=True, **options)
    assert again.scores["accuracy"].tolist() == found.scores["accuracy"].tolist()


def test_trainings_of_other_recipes_are_not_taken(tiny, tiny_recipe, tmp_path):
    """Those of the same one are, wherever their folder was."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(tiny.with_suffix(suffix), folder)
    moved = replace(tiny_recipe, training=replace(tiny_recipe.training, init="elsewhere/x"))
    plan, path = TrainingPlan(tmp_path), folder / "tiny.safetensors"
    assert plan._made(tiny_recipe, None) == path
    assert without_folders(moved) == without_folders(
        replace(moved, training=replace(moved.training, init="x")))
    longer = replace(tiny_recipe, training=replace(tiny_recipe.training, steps=7))
    with pytest.raises(ValueError, match=r"`runs` must be .* \[training\] steps is 6, not 7"):
        plan._made(longer, None)
