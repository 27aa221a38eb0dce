"""Fine-tuning: from simulated to observed pairs, the up-sampling first, then all."""

from pathlib import Path

from lenssr.simulate import write_pairs
from lenssr.train._loop import fit
from lenssr.train._recipe import Data, Recipe, Training
from lenssr.weights import find_weights, read_card

__all__ = ["finetune", "target_folder"]


def target_folder(pairs, folder):
    """The folder of a catalogue of pairs, which is written if they are in memory."""
    if isinstance(pairs, str | Path):
        return str(pairs)
    path = Path(folder) / "pairs"
    if not path.exists():
        write_pairs(pairs, path)
    return str(path)


def finetune(weights, pairs, folder, *, steps=(500, 1500), learning_rates=(1e-3, 1e-4), batch=16,
             size=32, validation_share=0.1, fold=0, loss=None, seed=1, device=None,
             progress=True):
    """
    Carry a trained network over to other pairs, in two stages.

    First all but the last, up-sampling part is left as it is, so that the features learnt from
    many simulated pairs outlive the first steps on few observed ones; then all is trained at
    a smaller rate (Yosinski et al., arXiv:1411.1792).

    Parameters
    ----------
    weights : str or path-like
        Name of shipped weights, or a ``.safetensors`` file with its card.
    pairs : path-like or sequence of `~lenssr.simulate.LensPair`
        What to carry it over to: a catalogue that `lenssr.simulate.open_catalog` opens, or
        pairs, such as `lenssr.simulate.pair_observations` makes.
    folder : path-like
        Where checkpoints, curves, weights and card go; a run that was stopped goes on.
    steps : tuple of int
        Steps of both stages; zero leaves a stage out.
    learning_rates : tuple of float
        Learning rates of both stages.
    batch, size : int
        Pairs of a step, and side of their patches in input pixels.
    validation_share : float
        Share of the pairs that is held out.
    fold : int
        Which share that is, for cross-validation.
    loss : dict, optional
        Losses with their weights, as in recipes; the one of the shipped recipes by default.
    seed : int
        Seed of the order of the pairs.
    device : str, optional
        Torch device.
    progress : bool
        Show progress bars.

    Returns
    -------
    weights : `~pathlib.Path`
        The weights, with their card beside them, named after the old ones with ``-tuned``.

    Raises
    ------
    ValueError
        If an argument is wrong, or the pairs do not fit the network.
    """
    for name, value in (("steps", steps), ("learning_rates", learning_rates)):
        if not (isinstance(value, tuple | list) and len(value) == 2):
            raise ValueError(f"`{name}` must be two numbers, one for each stage, got {value!r}")
    if not any(steps):
        raise ValueError(f"`steps` must be of at least one stage, got {steps!r}")
    folder = Path(folder)
    card = read_card(find_weights(weights))
    data = Data(catalog=target_folder(pairs, folder), size=size, fold=fold,
                validation_share=validation_share, validation_seed=0)
    # What was trained against a discriminator goes on against a new one.
    rules = Recipe.from_dict(card.recipe).adversarial if card.recipe else None
    last, made = str(weights), None
    for stage, frozen in enumerate((_features(card, last), [])):
        if not steps[stage]:
            continue
        training = Training(
            seed=seed, steps=steps[stage], batch=batch, learning_rate=learning_rates[stage],
            warmup=min(50, steps[stage] // 10), validate_every=max(1, steps[stage] // 10),
            ema=0.99, init=last, freeze=frozen, **({} if loss is None else {"loss": loss}))
        recipe = Recipe(f"{card.name}-tuned", card.network, data, training, rules)
        place = folder / ("upsampler", "all")[stage]
        made = fit(recipe, place, device=device, progress=progress)
        last = str(made)
    return made


def _features(card, weights):
    """Names of the parts of a network before the last, which up-samples."""
    from lenssr.weights import load_network

    network, _ = load_network(weights)
    names = [name for name, child in network.named_children()
             if any(True for _ in child.parameters())]
    if "tail" not in names:
        raise ValueError("`weights` must be of a network whose last part can be trained alone, got "
                         f"architecture {card.network['architecture']!r}")
    return [name for name in names if name != "tail"]
