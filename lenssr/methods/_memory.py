"""Whether samples fit in memory."""

__all__ = ["check_memory", "free_memory"]

NEEDED = 20  # bytes a pixel of a sample while the result is put together
SHARE = 0.8  # of the free memory that they may take


def free_memory():
    """Bytes that are free, or None where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def check_memory(n, shape):
    """`ValueError`, with the size, if so many samples of that shape do not fit."""
    free, one = free_memory(), NEEDED * shape[0] * shape[1]
    if free is not None and n * one > SHARE * free:
        most = int(SHARE * free / one)
        raise ValueError(
            f"`n_samples` must be at most {most} for {shape[0]} x {shape[1]} output pixels, got "
            f"{n}: they would take {n * one / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; with "
            "keep_samples=False there is the mean and the spread of any number")
