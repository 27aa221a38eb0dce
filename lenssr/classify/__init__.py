"""What dark matter is in a lens: classifiers, and how far they can be believed."""

from importlib import import_module

__all__ = ["ClassifierRecipe", "DarkMatter", "Looks", "classify", "dark_matter",
           "evaluate_classifier", "train_classifier"]

# Loaded on first use: they need torch.
_HOMES = {"ClassifierRecipe": "_recipe", "Looks": "_recipe", "classify": "_classify",
          "DarkMatter": "_outcome", "dark_matter": "_dark_matter",
          "evaluate_classifier": "_evaluate", "train_classifier": "_train"}


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'lenssr.classify' has no attribute {name!r}")
    return getattr(import_module(f"lenssr.classify.{_HOMES[name]}"), name)
