"""Classification of the dark matter in images of lenses."""

from lenssr._lazy import lazy_exports

__all__ = ["ClassifierRecipe", "DarkMatter", "InputConfig", "classify", "dark_matter",
           "evaluate_classifier", "train_classifier"]

_PUBLIC = {
    "._classify": ["classify"],
    "._dark_matter": ["dark_matter"],
    "._evaluate": ["evaluate_classifier"],
    "._outcome": ["DarkMatter"],
    "._recipe": ["ClassifierRecipe", "InputConfig"],
    "._train": ["train_classifier"],
}

__getattr__, __dir__ = lazy_exports(__name__, _PUBLIC)
