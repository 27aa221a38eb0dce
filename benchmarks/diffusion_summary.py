"""What the rows of ``benchmarks/diffusion.py`` come to."""

import numpy as np
from astropy.table import Table

from lenssr.evaluate import FREQUENCIES, transfer_function

BINS = (1, 3, 10, 30)                    # of the local signal to noise
SNR = (5, 15, 50, 150, 500)              # of the peak of an image
RANKS = 13                               # bins of the ranks, so many samples and one more
HALVES = 200                             # by which it is told what chance does
HALF = 0.25                              # half the Nyquist frequency of the output

HEADER = """\
Each image is scaled to the peak of its noise-free truth; images that show nothing count for
coverage, ranks and chi2 alone.
  mean, sample    mean of the samples, and one of them
  T               root of summed power over the true one, up to half the Nyquist frequency: smallest
                  and largest over rings
  below_mean      dB by which a sample lies below the mean
  chi2            mean square of data less the observed sample, over the noise, without the edge:
                  median and mean over the images
  1 sigma, 2 sigma    share of the truth within the uncertainty, which should be 0.683 and 0.954
  rank            largest deviation of the rank histogram from a flat one, in per cent of it
  TARP            largest deviation of the coverage of random regions, in per cent"""


def summary(rows, against):
    """Tables of images, of signal to noise, and of calibration."""
    seen = [row for row in rows if not row["empty"]]
    return [images(seen, ["mean", "sample", *against]), by_snr(seen, against[-1:]),
            calibration(rows), misfits(rows)]


def psnr(rows, name):
    return -10 * np.log10([row[f"mse_{name}"] for row in rows])


def images(rows, names):
    """A row for each kind of image."""
    table = []
    for name in names:
        t, r = transfer_function(np.sum([row[f"power_{name}"] for row in rows], axis=0))
        t = t[FREQUENCIES < HALF]
        table.append({"image": name, "n": len(rows), "psnr": psnr(rows, name).mean(),
                      "of_mean": -10 * np.log10(np.mean([row[f"mse_{name}"] for row in rows])),
                      "ssim": np.mean([row[f"ssim_{name}"] for row in rows]),
                      "below_mean": (psnr(rows, "mean") - psnr(rows, name)).mean(),
                      "T_min": t.min(), "T_max": t.max(), "r_half": r[FREQUENCIES < HALF][-1]})
    return rounded(table, 3)


def by_snr(rows, base):
    """A row for each bin of the signal to noise of an image."""
    table = []
    snr = np.array([row["snr"] for row in rows])
    for low, high in (*zip(SNR, SNR[1:]), (SNR[0], np.inf)):
        part = [row for row, value in zip(rows, snr) if low <= value < high]
        if not part:
            continue
        line = {"snr_from": low, "to": high, "n": len(part),
                "steps": np.mean([row["steps"] for row in part]),
                "mean": psnr(part, "mean").mean()}
        line |= {name: psnr(part, name).mean() for name in base}
        line |= {"below_mean": (psnr(part, "mean") - psnr(part, "sample")).mean(),
                 "chi2_samples": np.median([row["chi2_samples"] for row in part])}
        table.append(line)
    return rounded(table, 3)


def calibration(rows):
    """A row for each bin of the local signal to noise, and one for all."""
    covered = np.sum([row["covered"] for row in rows], axis=0)
    rank = np.concatenate([row["rank"] for row in rows])
    which = np.concatenate([row["rank_bin"] for row in rows])
    edges, table = (0, *BINS, np.inf), []
    for k in range(len(BINS) + 2):
        every = k == len(BINS) + 1
        count = covered.sum(0) if every else covered[k]
        ranks = rank if every else rank[which == k]
        table.append({"local_snr": "all" if every else f"{edges[k]}-{edges[k + 1]}",
                      "pixels": int(count[0]), "1 sigma": count[1] / max(count[0], 1),
                      "2 sigma": count[2] / max(count[0], 1), "ranks": len(ranks),
                      "rank": 100 * unevenness(ranks, rank.max() + 1)})
    return rounded(table, 3)


def unevenness(ranks, values):
    """Largest deviation of the shares of the bins of ranks from a flat histogram, over that."""
    if not len(ranks):
        return np.nan
    share = np.histogram(ranks, np.linspace(-0.5, values - 0.5, RANKS + 1))[0] / len(ranks)
    return np.abs(share * RANKS - 1).max()


def misfits(rows):
    """Reduced chi2 and the test of coverage."""
    tarp = np.sort(np.concatenate([row["tarp"] for row in rows[:500]]))
    levels = np.linspace(0, 1, 21)
    expected = np.array([np.mean(tarp <= level) for level in levels])
    line = {"images": len(rows)}
    for name in ("samples", "mean", "truth"):
        values = [row[f"chi2_{name}"] for row in rows]
        line |= {f"chi2_{name}": np.median(values), f"({name})": np.mean(values)}
    line["TARP"] = 100 * np.abs(expected - levels).max()
    return rounded([line], 3)


def agreement_table(pairs):
    """
    How far two samplers differ in mean and spread, and how far halves of all their samples do.

    These, drawn at random, tell what chance does: pixels are correlated, and a few bright ones have
    most of the variance, so that no formula does.
    """
    rng, table = np.random.default_rng(0), []
    for few, all_steps in pairs:
        both = np.concatenate([few, all_steps])
        means, spread = differences(few, all_steps)
        chance = np.array([differences(*np.split(rng.permutation(both), 2)) for _ in range(HALVES)])
        table.append({"means": means, "by chance": np.percentile(chance[:, 0], 95),
                      "spread, few over all": spread,
                      "chance, from": np.percentile(chance[:, 1], 2.5),
                      "to": np.percentile(chance[:, 1], 97.5)})
    return rounded(table, 3)


def differences(one, other):
    """Of means, root mean square in units of their errors; ratio of the spread of a usual pixel."""
    a, b = one.var(0), other.var(0)
    away = (one.mean(0) - other.mean(0)) * np.sqrt(len(one) / (a + b))
    return np.sqrt(np.mean(away**2)), np.exp(np.mean(np.log(a / b)) / 2)


def metadata_table(n, weights):
    """What the truth loses in likelihood when something is not told."""
    import torch

    from lenssr.networks import METADATA, N_PSF_FEATURES
    from lenssr.train import Recipe, open_residuals, sampling_metrics
    from lenssr.weights import load_network

    network, card = load_network(weights or "diffusion-x2")
    pairs = open_residuals(Recipe.from_dict(card.recipe), validation=True)
    pairs.n = min(n, pairs.n)
    numbers, table = pairs.arrays["numbers"].clone(), []
    names = [name for name in METADATA if name in card.network["ranges"]]
    for name in ("nothing", "psf", *names, "all"):
        changed = numbers.clone()
        if name in ("psf", "all"):
            changed[:, :N_PSF_FEATURES] = 0
        for k, each in enumerate(METADATA):
            if name in (each, "all"):
                changed[:, N_PSF_FEATURES + k] = torch.nan
        pairs.arrays["numbers"] = changed
        table.append({"withheld": name, **sampling_metrics(network, pairs, "cpu")})
    return rounded(table, 4)


def rounded(rows, digits):
    table = Table(rows)
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name].info.format = f".{digits}f"
    return table
