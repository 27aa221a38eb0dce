"""Catalogues: reproducible bytes, resumed runs, reports of damage, and other layouts."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.table import QTable

from lenssr import LensSRWarning
from lenssr.simulate import (
    DamagedChunk,
    Defects,
    Instrument,
    Population,
    Subhalos,
    find_preset,
    open_catalog,
    simulate_catalog,
    simulate_pair,
    write_pairs,
)

zarr = pytest.importorskip("zarr")

SMALL = dict(preset="deeplense-2", engine="torch", size=12, chunk_size=8, progress=False)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Catalogue of twenty pairs of all classes in three chunks."""
    return simulate_catalog(tmp_path_factory.mktemp("pairs") / "complete", 20, **SMALL)


def contents(path):
    """Return the bytes of all files of a catalogue except its manifest."""
    return {str(file.relative_to(path)): file.read_bytes()
            for file in sorted(path.rglob("*")) if file.is_file() and file.suffix != ".json"
            or file.name == "zarr.json"}


def test_pairs_equal_simulated_pairs(catalog):
    assert len(catalog) == 20
    for index in (0, 9, 19):
        pair = catalog[index]
        name = ("no_sub", "cdm", "axion")[index % 3]
        alone = simulate_pair("deeplense-2", substructure=name, index=index, size=12,
                              engine="torch")
        for image, expected in ((pair.lr, alone.lr), (pair.hr, alone.hr)):
            np.testing.assert_allclose(image.data, expected.data, atol=1e-4 * expected.data.max())
            assert image.wcs.wcs.compare(expected.wcs.wcs) and image.unit == expected.unit
            np.testing.assert_allclose(image.psf, expected.psf, atol=1e-6)
        np.testing.assert_allclose(pair.lr.uncertainty.array, alone.lr.uncertainty.array,
                                   rtol=1e-3)
        assert pair.truth.keys() == alone.truth.keys()
        assert pair.truth["substructure"] == name == alone.truth["substructure"]
        assert pair.truth["instrument"] == alone.truth["instrument"]
        assert (pair.truth["halos"] == alone.truth["halos"]).all()
        assert pair.truth["scene"].as_dict() == alone.truth["scene"].as_dict()
    assert pair.truth["halos"]["mass"].unit == "Msun"
    assert catalog[2].truth["vortex"].mass.to_value("Msun") == 3e10
    np.testing.assert_array_equal(catalog[-1].lr.data, catalog[19].lr.data)


def test_table_has_a_row_for_each_pair_with_units(catalog):
    table = catalog.table
    assert isinstance(table, QTable) and len(table) == 20
    assert list(table["index"]) == list(range(20))
    assert list(table["substructure"][:3]) == ["no_sub", "cdm", "axion"]
    assert table["theta_e"].unit == "arcsec" and table["axion_mass"].unit == "eV"
    assert np.isfinite(table["axion_mass"]).sum() == 6
    assert (table["halos"][1::3] == 25).all() and not table["halos"][::3].any()
    flux = [pair.hr.data.sum() for pair in catalog]
    np.testing.assert_allclose(table["flux"].value, flux, rtol=1e-5)


def test_arrays_are_read_in_parts(catalog):
    assert catalog.lr.shape == (20, 12, 12) and catalog.hr.shape == (20, 24, 24)
    images = np.asarray(catalog.hr)
    for key in (slice(6, 18, 5), [19, 0, 8], -1, (slice(3, 5), 2), (7, slice(None), 1)):
        np.testing.assert_array_equal(catalog.hr[key], images[key])
    catalog.hr[3][:] = 0
    np.testing.assert_array_equal(catalog.hr[3], images[3])
    with pytest.raises(IndexError, match="index 20 is out of range for 20 pairs"):
        catalog.hr[20]
    with pytest.raises(IndexError, match="`index` must be below 20, got 20"):
        catalog[20]
    with pytest.raises(TypeError, match="`index` must be an integer, got str"):
        catalog["lr"]


def test_resumed_catalogue_equals_uninterrupted_catalogue(catalog, tmp_path):
    copy(catalog, tmp_path)
    # A killed run leaves arrays written in part, and no truths of the chunk.
    for name in ("truths.ecsv", "truths/000001.ecsv", "truths/000002.ecsv",
                 "scenes/000002.json.gz", "arrays.zarr/hr/c/2/0/0"):
        (tmp_path / name).unlink()
    zarr.open_group(tmp_path / "arrays.zarr", mode="r+")["lr"][8:11] = -1
    with pytest.raises(ValueError, match="complete catalogue, .* with 1 of 3 chunks"):
        open_catalog(tmp_path)
    simulate_catalog(tmp_path, 20, **SMALL)
    assert contents(tmp_path) == contents(catalog.path)


MANY = dict(n=400, preset="deeplense-2", engine="torch", size=12, chunk_size=20, progress=False)
SCRIPT = f"""
import sys
from lenssr.simulate import simulate_catalog

if __name__ == "__main__":
    options = {MANY!r}
    if sys.argv[2] == "dask":
        # In another process, since the tests have no access to the network.
        from dask.distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            with Client(cluster) as client:
                simulate_catalog(sys.argv[1], client=client, **options)
    else:
        simulate_catalog(sys.argv[1], workers=int(sys.argv[2]), **options)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Script that simulates a catalogue of twenty chunks."""
    path = tmp_path_factory.mktemp("scripts") / "make.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Contents of the catalogue of the script, simulated by one uninterrupted process."""
    path = tmp_path_factory.mktemp("pairs") / "uninterrupted"
    simulate_catalog(path, **MANY)
    return contents(path)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_killed_runs_lose_and_repeat_nothing(script, expected, tmp_path, workers):
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, script, killed, workers], start_new_session=True)
    while not list(killed.glob("truths/*.ecsv")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "truths.ecsv").exists()
    made = {p: p.stat().st_mtime_ns for p in killed.glob("truths/*.ecsv")}
    simulate_catalog(killed, **MANY)
    assert contents(killed) == expected
    assert all(p.stat().st_mtime_ns == time_made for p, time_made in made.items())


@pytest.mark.slow
def test_dask_cluster_makes_the_same(script, expected, tmp_path):
    pytest.importorskip("dask.distributed")
    subprocess.run([sys.executable, script, tmp_path / "dask", "dask"], check=True)
    assert contents(tmp_path / "dask") == expected


def test_complete_catalogue_is_left_alone(catalog):
    before = {p: p.stat().st_mtime_ns for p in catalog.path.rglob("*.ecsv") if p.parent.name}
    again = simulate_catalog(catalog.path, 20, **SMALL)
    assert len(again) == 20
    parts = [p for p in before if p.parent.name == "truths"]
    assert parts and all(p.stat().st_mtime_ns == before[p] for p in parts)


def copy(catalog, path):
    """Copy a catalogue to another folder and open it."""
    for name, content in contents(catalog.path).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "manifest.json").write_bytes((catalog.path / "manifest.json").read_bytes())
    return open_catalog(path)


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
@pytest.mark.parametrize("name", ["arrays.zarr/hr/c/1/0/0", "scenes/000001.json.gz",
                                  "truths/000001.ecsv"])
def test_damaged_chunk_is_named_and_remade(catalog, tmp_path, name, damage):
    broken = copy(catalog, tmp_path)
    file = tmp_path / name
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 3])
    else:
        centre = len(content) // 2
        content[centre: centre + 4] = b"\xff\xff\xff\xff"
        file.write_bytes(content)
    if name.startswith("truths") and damage == "delete":
        # The chunk counts as missing, not as damaged: the same call completes the catalogue.
        with pytest.raises(ValueError, match="with 2 of 3 chunks"):
            open_catalog(tmp_path)
        simulate_catalog(tmp_path, 20, **SMALL)
        assert contents(tmp_path) == contents(catalog.path)
        return
    assert broken[0].truth["substructure"] == "no_sub"
    with pytest.raises(DamagedChunk, match=r"chunk 1 of .* \(pairs 8 to 15\) is damaged: .*"
                       r"remake\(1\) of the catalogue"):
        broken[10]
    assert broken.damaged() == [1]
    broken.remake(1)
    assert broken.damaged() == []
    assert contents(tmp_path) == contents(catalog.path)


def test_remake_with_custom_population_and_instrument(tmp_path):
    population = Population(scene_fractions=(0.5, 0, 0, 0.3, 0.1, 0.1), sigma_v=(180, 300))
    instrument = replace(Instrument.named("Euclid VIS"), defects=Defects(gaps=0.5, saturation=20))
    made = simulate_catalog(
        tmp_path / "custom", 18, population=population, instrument=instrument, size=8, chunk_size=8,
        substructure=(Subhalos(mean_number=3, profile="tnfw"), "wdm"), progress=False)
    before = contents(made.path)
    again = open_catalog(made.path)
    again.remake(1)
    assert contents(made.path) == before
    assert again.instrument == instrument
    masked = [i for i in range(18) if again[i].lr.mask is not None]
    assert masked and "mask" in again.arrays
    with pytest.raises(ValueError, match="`chunk` must be below 3, got 3"):
        again.remake(3)


class CustomPopulation(Population):
    """Population of a user's class, which a manifest cannot restore."""


def test_custom_class_of_population_is_not_remade(tmp_path):
    made = simulate_catalog(tmp_path / "custom", 2, population=CustomPopulation(), size=8,
                            progress=False)
    with pytest.raises(ValueError, match="of the class 'CustomPopulation'; delete the chunk's"):
        made.remake(0)


def test_folder_with_other_content(catalog, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match="`path` must be a new or empty folder .* 'notes.txt'"):
        simulate_catalog(tmp_path, 4, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="`path` must be a folder, got the file"):
        simulate_catalog(tmp_path / "notes.txt", 4, **SMALL)
    with pytest.raises(ValueError, match="whose seed is 0, not 1"):
        simulate_catalog(catalog.path, 20, seed=1, **SMALL)
    with pytest.raises(ValueError, match="whose n is 20, not 21"):
        simulate_catalog(catalog.path, 21, **SMALL)
    population = replace(find_preset(catalog.preset).population, gamma=(2, 2))
    with pytest.raises(ValueError, match=r"whose population.gamma is \[1.8, 2.25\], not \[2, 2\]"):
        simulate_catalog(catalog.path, 20, population=population, **SMALL)


@pytest.mark.parametrize(("arguments", "message"), [
    (dict(n=0), "`n` must be a positive integer, got 0"),
    (dict(n=-3), "`n` must be a positive integer, got -3"),
    (dict(n=2, preset="hubble"), "`preset` must be one of hsc-hst, .*got 'hubble'"),
    (dict(n=2, preset="deeplense1"), "did you mean 'deeplense-1'"),
    (dict(n=2, substructure=("cdm", "sidm")), "`substructure` must be one of no_sub, cdm"),
    (dict(n=2, substructure=()), "`substructure` must name at least one class"),
    (dict(n=2, instrument="HUBBLE"), "`instrument` must be one of HSC, DES"),
    (dict(n=2, engine="gpu"), "`engine` must be one of lenstronomy, torch, got 'gpu'"),
    (dict(n=2, seed=-1), "`seed` must be a non-negative integer, got -1"),
    (dict(n=2, chunk_size=0), "`chunk_size` must be a positive integer, got 0"),
    (dict(n=2, workers=0), "`workers` must be a positive integer, got 0"),
    (dict(n=2, target_noise=-0.1), "`target_noise` must not be negative, got -0.1"),
])
def test_bad_arguments_leave_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_catalog(tmp_path / "new", **{**dict(progress=False), **arguments})
    assert not (tmp_path / "new").exists()


def test_other_formats_and_versions(catalog, tmp_path):
    copy(catalog, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "1.0"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(LensSRWarning, match="was made with numpy 1.0, now"):
        simulate_catalog(tmp_path, 20, **SMALL)
    manifest["format"] = 99
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="must be a catalogue of format 2, got .* of format 99"):
        open_catalog(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is missing or damaged"):
        open_catalog(tmp_path)
    with pytest.raises(ValueError, match="must be the folder of a catalogue, got"):
        open_catalog(tmp_path / "nowhere")


def test_noisy_target_has_a_noise_free_truth(tmp_path):
    made = simulate_catalog(tmp_path / "noisy", 4, "deeplense-noisy", size=16, progress=False,
                            engine="torch")
    pair = made[1]
    clean, peak = pair.truth["hr"].data, pair.truth["hr"].data.max()
    assert (pair.hr.data - clean).std() == pytest.approx(0.03 * peak, rel=0.1)
    assert pair.hr.uncertainty.array[0, 0] == pytest.approx(0.03 * peak, rel=1e-5)
    assert pair.truth["target_sigma"].to_value("electron") == pytest.approx(0.03 * peak, rel=1e-5)
    clean = simulate_catalog(tmp_path / "clean", 2, "deeplense-clean", size=16, progress=False)
    assert clean[0].lr.uncertainty is None and "sigma" not in clean.arrays
    assert clean[0].hr.uncertainty is None and clean[0].truth["snr"] == np.inf


def test_export_to_fits(catalog, tmp_path):
    catalog.export(tmp_path / "fits")
    lr = CCDData.read(tmp_path / "fits" / "lr-000007.fits")
    pair = catalog[7]
    np.testing.assert_allclose(lr.data, pair.lr.data)
    np.testing.assert_allclose(lr.uncertainty.array, pair.lr.uncertainty.array)
    np.testing.assert_allclose(lr.psf, pair.lr.psf)
    assert lr.unit == "electron"
    assert lr.wcs.pixel_to_world(3, 4).separation(pair.lr.wcs.pixel_to_world(3, 4)).arcsec < 1e-6
    again = open_catalog(tmp_path / "fits")
    assert len(again) == 20 and again.scale == 2
    for name in ("lr", "hr", "sigma", "psf"):
        np.testing.assert_array_equal(again.arrays[name], np.asarray(catalog.arrays[name]))
    np.testing.assert_array_equal(again[7].hr.data, pair.hr.data)
    (tmp_path / "fits" / "hr-000003.fits").unlink()
    with pytest.raises(ValueError, match="as many images .* got 20 and 19"):
        open_catalog(tmp_path / "fits")
    table = QTable.read(tmp_path / "fits" / "truths.ecsv")
    assert table["theta_e"][7] == catalog.table["theta_e"][7]
    with pytest.raises(ValueError, match="`path` must be a new or empty folder"):
        catalog.export(tmp_path / "fits")
    with pytest.raises(ValueError, match="`layout` must be one of fits, deeplense, got 'png'"):
        catalog.export(tmp_path / "other", "png")


@pytest.mark.parametrize("scaled", [True, False])
def test_deeplense_layout_round_trip(catalog, tmp_path, scaled):
    catalog.export(tmp_path / "ml4sci", "deeplense", scaled=scaled)
    # Files are sorted by number: 10 comes after 9.
    opened = open_catalog(tmp_path / "ml4sci", pixel_scale=0.2)
    assert len(opened) == 20 and opened.scale == 2
    for index in (2, 10):
        image, original = opened.hr[index], catalog.hr[index]
        if scaled:
            assert (image.min(), image.max()) == (0, 1)
            original = (original - original.min()) / (original.max() - original.min())
        np.testing.assert_allclose(image, original, atol=1e-6)
    pair = opened[3]
    assert pair.scale == 2 and pair.lr.uncertainty is None and pair.lr.psf is None
    corner = pair.lr.wcs.pixel_to_world(-0.5, -0.5)
    assert corner.separation(pair.hr.wcs.pixel_to_world(-0.5, -0.5)).arcsec < 1e-6
    assert open_catalog(tmp_path / "ml4sci")[0].lr.wcs is None
    np.testing.assert_array_equal(opened.lr[2:5], np.asarray(opened.lr)[2:5])
    assert list(opened.table["hr"][9:11]) == ["sample_9.npy", "sample_10.npy"]


def test_bad_folders_of_deeplense(catalog, tmp_path):
    catalog.export(tmp_path, "deeplense")
    (tmp_path / "HR" / "sample_4.npy").rename(tmp_path / "HR" / "sample_44.npy")
    with pytest.raises(ValueError, match="pairs of files of the same number, got LR/sample_4.npy"):
        open_catalog(tmp_path)
    (tmp_path / "HR" / "sample_44.npy").unlink()
    with pytest.raises(ValueError, match="as many images .* got 20 and 19"):
        open_catalog(tmp_path)
    (tmp_path / "LR" / "sample_4.npy").unlink()
    (tmp_path / "LR" / "sample_6.npy").write_bytes(b"no image")
    opened = open_catalog(tmp_path)
    with pytest.raises(ValueError, match="sample_6.npy is not an image in numpy's format"):
        opened[5]
    np.save(tmp_path / "LR" / "sample_7.npy", np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"must have the shape \(12, 12\) of the first image"):
        opened[6]
    with pytest.raises(ValueError, match="`pixel_scale` must be a positive number, got 0"):
        open_catalog(tmp_path, pixel_scale=0)
    with pytest.raises(ValueError, match="`pixel_scale` must be None"):
        open_catalog(catalog.path, pixel_scale=0.1)


def test_written_pairs_are_a_catalogue(tmp_path):
    pairs = [simulate_pair(size=8, seed=seed, instrument=replace(
        Instrument(), defects=Defects(gaps=float(seed)))) for seed in (0, 1)]
    pairs[1].lr.psf = pairs[1].lr.psf[3:-3, 3:-3]
    write_pairs(pairs, tmp_path / "pairs")
    opened = open_catalog(tmp_path / "pairs")
    assert opened.arrays["psf"].shape[1:] == pairs[0].lr.psf.shape
    np.testing.assert_allclose(opened.arrays["psf"][1, 3:-3, 3:-3], pairs[1].lr.psf, rtol=1e-6)
    assert not opened.arrays["mask"][0].any()
    np.testing.assert_array_equal(opened.arrays["mask"][1], pairs[1].lr.mask)
    pairs[1].lr.uncertainty = None
    write_pairs(pairs, tmp_path / "part")
    with pytest.raises(ValueError, match="all have uncertainty or none, .*lr-000001.fits has"):
        open_catalog(tmp_path / "part")
    write_pairs([pairs[0], simulate_pair(size=10)], tmp_path / "sizes")
    with pytest.raises(ValueError, match="images of one size in lr"):
        open_catalog(tmp_path / "sizes")
    with pytest.raises(ValueError, match="`path` must be a new or empty folder"):
        write_pairs(pairs, tmp_path / "pairs")


def test_scenes_are_stored(catalog):
    scenes = json.loads(gzip.decompress((catalog.path / "scenes/000000.json.gz").read_bytes()))
    assert len(scenes) == 8 and scenes[0]["lens_models"] == ["SIE", "SHEAR"]
