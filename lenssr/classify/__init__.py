"""Classification of the dark matter in images of lenses."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._classify": ["classify"],
    "._experiment": ["dark_matter"],
    "._scores": ["DarkMatter"],
    "._train": ["ClassifierRecipe", "InputConfig", "evaluate_classifier", "train_classifier"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._classify": [
        "calibration_error", "domain_distance", "feature_domain", "find_temperature",
        "open_classifier", "probabilities"],
    "._experiment": [
        "RESTORERS", "Restorations", "TEST_SEED", "TrainingPlan",
        "RestoredImages", "lens_images", "open_restorations", "restore_consistently",
        "restorer_from_method", "restorer_from_weights", "without_folders"],
    "._scores": [
        "SUBHALO_MASSES", "auc", "bootstrap", "confusion", "confusion_table",
        "exceeds_threshold", "one_vs_rest", "roc", "roc_table", "scores_table",
        "subhalo_table", "twin_series"],
    "._train": ["ClassifierInputs", "ClassifierTrainer", "Labels"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
