"""Training of networks on simulated pairs."""

from lenssr._lazy import lazy_exports

__all__ = ["Adaptation", "Adversarial", "Calibration", "Data", "LearningRateSweep", "Recipe",
           "Training", "adapt", "calibrate", "draw_arcs", "evaluate_weights",
           "find_learning_rate", "finetune", "fit"]

_PUBLIC = {
    "._adapt": ["Adaptation", "adapt"],
    "._calibrate": ["Calibration", "calibrate"],
    "._evaluate": ["evaluate_weights"],
    "._find_lr": ["LearningRateSweep", "find_learning_rate"],
    "._finetune": ["finetune"],
    "._generated": ["draw_arcs"],
    "._loop": ["fit"],
    "._recipe": ["Adversarial", "Data", "Recipe", "Training"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._ahead": ["check_workers"],
    "._batch": ["apply_symmetry"],
    "._data": ["open_pairs"],
    "._distributed": ["Distributed"],
    "._evaluate": ["compare_card", "recipe_from_card"],
    "._keys": ["check_fields", "choice_field", "number_field"],
    "._loop": ["run_steps"],
    "._scene_cache": ["SceneCache"],
    "._trainer": ["Trainer", "recipe_difference"],
}

__getattr__, __dir__ = lazy_exports(
    __name__, {m: [*_PUBLIC.get(m, ()), *_INTERNAL.get(m, ())] for m in {**_PUBLIC, **_INTERNAL}})
