"""Two processes are one with the doubled batch."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from lenssr.train import fit


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch(recipe, toml, values, tmp_path):
    """By its default loss, whose terms do not count each image alike."""
    def halved(world):
        return dataclasses.replace(recipe, training=dataclasses.replace(
            recipe.training, batch=8 // world, validate_every=1))

    alone = fit(halved(1), tmp_path / "alone", device="cpu", progress=False)
    (tmp_path / "recipe.toml").write_text(toml(halved(2)))
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "--local-addr=127.0.0.1", "-m", "lenssr", "train", str(tmp_path / "recipe.toml"),
         "--out", str(tmp_path / "two"), "--device", "cpu"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})
    assert run.returncode == 0, run.stderr[-4000:]
    curves = [np.genfromtxt(tmp_path / name / "curve.csv", delimiter=",", names=True)
              for name in ("alone", "two")]
    assert len(curves[0]) == 6
    for name in ("loss", "psnr"):
        np.testing.assert_allclose(curves[1][name], curves[0][name], rtol=1e-4)
    np.testing.assert_allclose(values(tmp_path / "two" / alone.name), values(alone), atol=1e-4)
