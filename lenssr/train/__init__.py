"""Training of networks on simulated pairs."""

from lenssr._lazy import lazy_exports

_PUBLIC = {
    "._calibrate": ["Calibration", "calibrate"],
    "._data": ["draw_arcs"],
    "._find_lr": ["LearningRateSweep", "find_learning_rate"],
    "._finetune": ["Adaptation", "adapt", "finetune"],
    "._loop": ["fit"],
    "._recipe": ["Adversarial", "Data", "Recipe", "Training"],
    "._verify": ["evaluate_weights"],
}
# Interface for the other packages of lenssr, not part of the public API.
_INTERNAL = {
    "._adversarial": [
        "ArcImages", "ArcTrainer", "SRGANTrainer", "balanced_adversarial_loss",
        "discriminator_inputs", "relativistic_loss", "wavelet_details"],
    "._batch": ["Batch", "Pairs", "epoch_order", "sample_indices", "sample_rng"],
    "._calibration_images": [
        "open_calibration_images", "perturb_observation", "restore_images"],
    "._conformal": [
        "aperture_factors", "conformal_factors", "coverage",
        "rest_correlation"],
    "._data": [
        "CachedPairs", "CatalogPairs", "MultiScalePairs", "OnlinePairs", "open_pairs",
        "split"],
    "._diffusion": [
        "DiffusionTrainer", "ResidualCache", "ResidualPairs", "noise_levels", "open_residuals",
        "sampling_metrics"],
    "._distributed": ["Distributed", "check_workers"],
    "._error_head": ["ErrorPairs", "ErrorTrainer", "rotate_psf_features"],
    "._finetune": ["DomainDiscriminator", "consistency_chi2", "encode_features"],
    "._loop": ["ConsistencyTrainer", "ResidualTrainer", "run_steps"],
    "._losses": [
        "LOSSES", "RESIDUAL_LOSS", "consistency_loss", "flux_error", "load_features",
        "log_relative_error", "perceptual_error", "restoration_loss",
        "structural_similarity", "training_loss"],
    "._optimization": ["Muon", "flux_weight", "learning_rate", "orthogonalized", "scheduled"],
    "._recipe": ["check_fields", "choice_field", "number_field"],
    "._scene_cache": ["SceneCache"],
    "._trainer": ["Trainer", "freeze", "freeze_batchnorm", "recipe_difference", "warm_start"],
    "._validation": ["Curves", "power_error", "validate"],
    "._verify": ["compare_card", "recipe_from_card"],
}

__all__ = [name for names in _PUBLIC.values() for name in names]
__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC, _INTERNAL)
