"""Curves of a training: a table, a figure, and TensorBoard where it is installed."""

import csv
import time

from lenssr._io import atomic_write

__all__ = ["Curves", "write_figure", "write_table"]

REST = 10.0  # seconds from one drawing of the figure to the next, which takes half a second
PANELS = {"loss": "loss", "psnr": "PSNR (dB)", "flux_ratio": "flux / true flux",
          "likelihood": "-log likelihood", "power_error": "mean |T(k) - 1|",
          "spread": "spread / true spread", "accuracy": "accuracy", "entropy": "cross-entropy"}


class Curves:
    """Where the validations of a run are written."""

    def __init__(self, folder, step=0):
        self.folder, self._rows, self._drawn = folder, [], -REST
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, rows):
        """Write all rows so far, dictionaries with ``step``."""
        write_table(self.folder / "curve.csv", rows)
        self._rows = list(rows)
        if time.monotonic() - self._drawn > REST:
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
        """Draw what was not drawn yet, and let go of TensorBoard's files."""
        if self._rows:
            self._draw()
        if self.board is not None:
            self.board.close()


def write_table(path, rows):
    """Rows of the same keys as CSV."""
    with atomic_write(path) as beside, open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_figure(path, figure):
    """A figure as PNG."""
    with atomic_write(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def _panels(rows):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7), layout="constrained")
    panels = {name: label for name, label in PANELS.items() if name in rows[-1]}
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
