"""The command line as a user drives it."""

import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from lenssr import SuperResolvedImage
from lenssr.cli import main


@pytest.fixture
def image(tmp_path):
    """A small FITS image with a unit and an error extension."""
    rng = np.random.default_rng(0)
    path = tmp_path / "lens.fits"
    primary = fits.PrimaryHDU(rng.normal(0, 1, (12, 16)))
    primary.header["BUNIT"], primary.header["OBSERVER"] = "nJy", "Walsh"
    fits.HDUList([primary, fits.ImageHDU(np.ones((12, 16)), name="ERR")]).writeto(path)
    return path


def run(capsys, *words):
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_superresolve_writes_the_result(image, tmp_path, capsys):
    out = tmp_path / "sharp.fits"
    status, _, err = run(capsys, "superresolve", image, out, "--method", "richardson_lucy",
                         "--psf", "3pix", "--option", "n_iter=3", "--seed", 4)
    assert (status, err) == (0, "")
    result = SuperResolvedImage.read(out)
    assert result.shape == (24, 32)
    assert result.header["OBSERVER"] == "Walsh"
    assert (result.header["SRNITER"], result.header["SRSEED"]) == (3, 4)


def test_data_consistent(image, tmp_path, capsys):
    """Noise whose size is understated by a little, which a correction can follow."""
    out, page = tmp_path / "sharp.fits", tmp_path / "page.html"
    with fits.open(image, mode="update") as hdus:
        hdus["ERR"].data *= 0.88
    words = ["superresolve", image, out, "--method", "wiener", "--psf", "2pix"]
    assert run(capsys, *words)[0] == 0
    before = SuperResolvedImage.read(out).header
    assert run(capsys, *words, "--data-consistent", "--overwrite") == (0, "", "")
    after = SuperResolvedImage.read(out).header
    assert before["SRCHI2"] == after["SRCHI2IN"] > 1
    assert after["SRCHI2"] == pytest.approx(1, abs=1e-3)
    words = ["report", page, out, "--input", image, "--psf", "2pix", "--prior-map"]
    assert run(capsys, *words) == (0, "", "")
    assert "Prior fraction" in page.read_text(encoding="utf-8")


def test_warnings_are_one_line(image, tmp_path, capsys):
    fits.delval(image, "BUNIT")
    status, _, err = run(capsys, "superresolve", image, tmp_path / "x.fits", "--method", "bilinear")
    assert status == 0
    assert err.startswith("lenssr: warning: the image has no unit")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), [
    (["--method", "rcann"], "`method` must be one of .* did you mean 'rcan'?"),
    (["--method", "bilinear", "--scale", "0"], "`scale` must be a positive integer, got 0"),
    (["--method", "wiener"], "`psf` must be given"),
    (["--method", "bilinear", "--psf", "wide"], "`psf` must be a FITS file or a FWHM"),
    (["--method", "bilinear", "--hdu", "9"], "`hdu` must be an HDU of the file"),
    (["--method", "bilinear", "--option", "x"], "`--option` must be KEY=VALUE, got 'x'"),
    (["--method", "bilinear", "--option", "x=1"], "unknown option `x`"),
])
def test_errors_are_one_line_and_leave_no_file(image, tmp_path, capsys, words, message):
    out = tmp_path / "sharp.fits"
    status, _, err = run(capsys, "superresolve", image, out, *words)
    assert status == 1
    assert err.startswith("lenssr: error: ")
    assert err.count("\n") == 1
    assert re.search(message, err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lens.fits"]


def test_existing_output_is_kept_without_overwrite(image, tmp_path, capsys):
    out = tmp_path / "sharp.fits"
    out.write_text("precious")
    status, _, err = run(capsys, "superresolve", image, out, "--method", "bilinear")
    assert status == 1
    assert "exists already; say --overwrite" in err
    assert out.read_text() == "precious"
    status, _, _ = run(capsys, "superresolve", image, out, "--method", "bilinear", "--overwrite")
    assert status == 0
    assert SuperResolvedImage.read(out).shape == (24, 32)


def test_folder_that_does_not_exist(image, tmp_path, capsys):
    status, _, err = run(capsys, "superresolve", image, tmp_path / "no" / "x.fits",
                         "--method", "bilinear")
    assert status == 1
    assert "OUT.fits must be in a folder that can be written to" in err


def test_debug_shows_the_error_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match="`data` must be a FITS file, got no file"):
        main(["superresolve", str(tmp_path / "no.fits"), str(tmp_path / "x.fits"), "--debug"])


def test_methods_lists_all(capsys):
    status, out, _ = run(capsys, "methods")
    assert status == 0
    for name in ("bilinear", "bicubic", "lanczos", "richardson_lucy", "wiener", "rcan"):
        assert name in out


@pytest.mark.parametrize("command", ["demo", "superresolve", "methods", "simulate", "show",
                                     "benchmark", "report", "train", "finetune", "evaluate"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"example: lenssr {command}" in capsys.readouterr().out


def test_no_such_recipe(tmp_path, capsys):
    status, _, err = run(capsys, "train", "nowhere", "--out", tmp_path / "run")
    assert status == 1
    assert "`recipe` must be a TOML file or the name" in err


def test_training_needs_a_folder(capsys):
    status, _, err = run(capsys, "train", "rcan_x2")
    assert (status, err) == (1, "lenssr: error: `--out` must name the folder for checkpoint, "
                                "curve, weights and card\n")
    status, _, err = run(capsys, "train", "rcan_x2", "--find-lr", "--init", "rcan-x2")
    assert status == 1 and "`--init` must be left out with --find-lr" in err


def test_no_such_weights(capsys):
    status, _, err = run(capsys, "evaluate", "nothing")
    assert status == 1 and "`weights` must be the name of shipped weights" in err


@pytest.mark.slow
def test_demo_beats_the_classics(tmp_path, capsys):
    status, out, err = run(capsys, "demo", "--out", tmp_path / "demo")
    assert (status, err) == (0, "")
    rows = {words[0]: [float(word) for word in words[1:]]
            for words in map(str.split, out.splitlines()[3:-1])}
    psnr = {method: figures[0] for method, figures in rows.items()}
    for network in ("rcan", "unrolled"):
        assert psnr[network] > psnr["richardson_lucy"] > psnr["bilinear"]
    assert all(abs(figures[2] - 1) < 0.02 for figures in rows.values())
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {
        "input.fits", "truth.fits", "bilinear.fits", "richardson_lucy.fits", "rcan.fits",
        "unrolled.fits", "demo.png"}
    result = SuperResolvedImage.read(tmp_path / "demo" / "rcan.fits")
    assert result.wcs is not None
    status, _, err = run(capsys, "demo", "--out", tmp_path / "demo")
    assert status == 1
    assert "holds input.fits already" in err


def test_module_runs_as_a_program():
    program = "from lenssr.cli import main; main(['--version'])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                           check=True)
    assert found.stdout.startswith("lenssr ")


def test_simulate_and_show(tmp_path, capsys):
    pytest.importorskip("zarr")
    priors = tmp_path / "priors.toml"
    priors.write_text("theta_e = [1.0, 1.1]\nscene_fractions = [1.0, 0, 0, 0, 0, 0]\n")
    words = ("simulate", tmp_path / "pairs", "--n", 3, "--size", 16, "--engine", "torch",
             "--substructure", "cdm", "axion", "--population", priors, "--instrument", "DES")
    for _ in range(2):
        status, out, err = run(capsys, *words)
        assert (status, out, err) == (0, f"3 pairs are in {tmp_path / 'pairs'}\n", "")
    from lenssr.simulate import open_catalog

    table = open_catalog(tmp_path / "pairs").table
    assert list(table["substructure"]) == ["cdm", "axion", "cdm"]
    assert ((table["theta_e"].value >= 1.0) & (table["theta_e"].value <= 1.1)).all()
    status, _, err = run(capsys, *words, "--seed", 1)
    assert (status, err.count("\n")) == (1, 1)
    assert "whose seed is 0, not 1" in err
    sheet = tmp_path / "sheet.png"
    status, _, err = run(capsys, "show", tmp_path / "pairs", "--out", sheet, "--n", 2)
    assert (status, err) == (0, "")
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    status, _, err = run(capsys, "show", tmp_path / "pairs", "--out", sheet)
    assert status == 1 and "exists already; say --overwrite" in err
    status, _, err = run(capsys, "show", tmp_path, "--out", tmp_path / "other.png")
    assert status == 1 and "`path` must be the folder of a catalogue" in err


@pytest.mark.slow
def test_benchmark(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("LR", "HR"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
    for k in range(3):
        image = rng.normal(0, 0.01, (24, 24))
        image[8:16, 8:16] += 1
        np.save(tmp_path / "pairs" / "HR" / f"{k}.npy", image)
        np.save(tmp_path / "pairs" / "LR" / f"{k}.npy", image.reshape(12, 2, 12, 2).mean((1, 3)))
    words = ("benchmark", tmp_path / "pairs", "--methods", "bicubic", "wiener", "--n", 3,
             "--out", tmp_path / "out")
    status, out, err = run(capsys, *words, "--weights", "rcan-x2=shipped")
    assert (status, err) == (0, "")
    rows = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {"bilinear", "bicubic", "shipped", "constant"} <= rows
    assert "wiener: `psf` must be given" in out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "pairs-images.ecsv", "pairs.ecsv", "pairs.png"]
    status, _, err = run(capsys, *words)
    assert (status, err.count("\n")) == (1, 1) and "say --overwrite" in err
    status, out, _ = run(capsys, *words, "--overwrite", "--psf", "2pix")
    assert status == 0 and "Not run" not in out


@pytest.mark.parametrize(("words", "message"), [
    (["nosy"], "`EXPERIMENT` must be one of clean, noisy, observed, .* got 'nosy'"),
    (["clean", "--methods", "rcann"], "`methods` must be names .* did you mean 'rcan'"),
    (["clean", "--weights", "nowhere=mine"], "`weights` must be the name of shipped weights"),
    (["clean", "--n", "0"], "`n` must be a positive integer, got 0"),
])
def test_errors_of_benchmark(tmp_path, capsys, words, message):
    status, _, err = run(capsys, "benchmark", *words, "--out", tmp_path / "out")
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(message, err)
    assert not (tmp_path / "out").exists()


def test_report(image, tmp_path, capsys):
    sharp, page = tmp_path / "sharp.fits", tmp_path / "page.html"
    assert run(capsys, "superresolve", image, sharp, "--method", "bilinear")[0] == 0
    words = ["report", page, sharp, "--input", image, "--truth", sharp, "--compare",
             f"{sharp}=<again>", "--psf", "3pix", "--title", "Here & there"]
    status, _, err = run(capsys, *words)
    assert (status, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert "<h1>Here &amp; there</h1>" in text and "&lt;again&gt;" in text
    status, _, err = run(capsys, *words)
    assert status == 1 and "exists already; say --overwrite" in err
    status, _, err = run(capsys, *words, "--overwrite", "--center", 9, 9, "--size", 8)
    assert status == 0 and "warning: the page shows 8 x 8 of 32 x 24 pixels" in err


@pytest.mark.parametrize(("words", "message"), [
    ([], "`RESULT.fits` or --benchmark must be given"),
    (["lens.fits", "--benchmark", "."], "`RESULT.fits` or --benchmark must be given, and not"),
    (["--benchmark", "nowhere"], "`--benchmark` must be a folder, there is none 'nowhere'"),
    (["lens.fits"], "`data` must be the image that was restored"),
    (["lens.fits", "--input", "none.fits"], "`data` must be a FITS file, got no file"),
    (["none.fits"], "must be a FITS file, got no file"),
])
def test_reports_that_cannot_be(image, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "report", "page.html", *words)
    assert status == 1 and err.count("\n") == 1
    assert re.search(message, err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lens.fits"]
