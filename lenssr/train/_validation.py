"""Validation metrics, and training curves."""

import csv
import time

import numpy as np
import torch

from lenssr._io import atomic_write
from lenssr.evaluate import radial_power, transfer_function
from lenssr.networks import exact_float32, sinh_scale

MIN_FLUX_SNR = 20  # peak signal-to-noise ratio for the flux metric
MIN_POWER_SNR = 5  # peak signal-to-noise ratio for the power metric


@torch.no_grad()
@exact_float32()
def validate(network, pairs, device):
    """Measure the metrics of a network on validation pairs, in float32."""
    ratios, noisy, flux = [], [], []
    for batch in pairs.batches():
        output = sinh_scale(network(*batch.inputs(device))).cpu()
        truth, mean = batch.truth, batch.truth.mean(dim=(1, 2, 3))
        peak = truth.amax(dim=(1, 2, 3))
        has_light = peak > 0
        ratios.append(_psnr(output, truth, peak)[has_light])
        if batch.hr is not truth:
            noisy.append(_psnr(output, batch.hr, peak)[has_light])
        bright = has_light & (batch.lr.amax(dim=(1, 2, 3)) > MIN_FLUX_SNR) & (mean > 0.5)
        flux.append(output.sum((1, 2, 3))[bright] / truth.sum((1, 2, 3))[bright])
    flux = torch.cat(flux)
    metrics = {"psnr": torch.cat(ratios).mean().item(),
               "flux_ratio": flux.median().item() if len(flux) else float("nan")}
    if noisy:
        metrics["psnr_target"] = torch.cat(noisy).mean().item()
    return metrics


@torch.no_grad()
def power_error(network, pairs, device):
    """Measure the power-spectrum error of the images of a network."""
    power = 0.0
    for batch in pairs.batches():
        images = sinh_scale(network(*batch.inputs(device))).cpu().numpy()[:, 0]
        for image, truth in zip(images, batch.truth.numpy()[:, 0]):
            if truth.max() > MIN_POWER_SNR:
                radial = radial_power(image, truth)
                power = power + radial / radial[1].sum()
    return float(np.nanmean(abs(transfer_function(power)[0] - 1)))  # small images lack some rings


def _psnr(image, truth, peak):
    mse = (image - truth).square().mean(dim=(1, 2, 3))
    return (peak**2 / mse).log10() * 10


REDRAW_SECONDS = 10.0  # between two drawings of the figure
PANEL_LABELS = {"loss": "loss", "psnr": "PSNR (dB)", "flux_ratio": "flux / true flux",
                "likelihood": "-log likelihood", "power_error": "mean |T(k) - 1|",
                "spread": "spread / true spread", "accuracy": "accuracy",
                "entropy": "cross-entropy"}


class Curves:
    """Training curves as table, figure and TensorBoard events."""

    def __init__(self, folder, step=0):
        self.folder, self._rows, self._drawn = folder, [], -REDRAW_SECONDS
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, rows):
        """Write all rows, dicts with the key ``step``."""
        write_table(self.folder / "curve.csv", rows)
        self._rows = list(rows)
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._draw()
        if self.board is not None:
            for name, value in rows[-1].items():
                if name != "step":
                    self.board.add_scalar(name, value, rows[-1]["step"])
            self.board.flush()

    def _draw(self):
        write_figure(self.folder / "curve.png", _panels(self._rows))
        self._rows, self._drawn = [], time.monotonic()

    def close(self):
        """Draw the last figure and close the TensorBoard files."""
        if self._rows:
            self._draw()
        if self.board is not None:
            self.board.close()


def write_table(path, rows):
    """Write rows as CSV."""
    with atomic_write(path) as tmp_path, open(tmp_path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_figure(path, figure):
    """Write a figure as PNG."""
    with atomic_write(path) as tmp_path:
        figure.savefig(tmp_path, format="png", dpi=110)


def _panels(rows):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), layout="constrained")
    panels = {name: label for name, label in PANEL_LABELS.items() if name in rows[-1]}
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    steps = [row["step"] for row in rows]
    for axis, (name, label) in zip(axes, panels.items()):
        axis.plot(steps, [row[name] for row in rows], "o-", ms=3, label="truth")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    if "psnr_target" in rows[-1]:
        axes[1].plot(steps, [row["psnr_target"] for row in rows], "o-", ms=3, label="noisy target")
        axes[1].legend()
    axes[-1].set_xlabel("step")
    return figure
