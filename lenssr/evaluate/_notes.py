"""What methods warned of, each kind of message once."""

import re
import warnings
from contextlib import contextmanager

from lenssr.exceptions import LensSRWarning

__all__ = ["Notes"]


class Notes:
    """Messages by who warned; those that differ in their numbers alone are of one kind."""

    def __init__(self):
        self._found = {}

    def add(self, label, messages, image):
        """Note messages that ``label`` gave on an image, by whatever tells images apart."""
        for message in messages:
            kind = re.sub(r"[-+.\d]+", "#", message)
            first, images = self._found.setdefault(label, {}).setdefault(kind, (message, set()))
            images.add(image)

    @contextmanager
    def taken(self, label, image):
        """Note what is warned of within, in place of showing it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LensSRWarning)
            yield
        self.add(label, [str(w.message) for w in caught
                         if issubclass(w.category, LensSRWarning)], image)

    def told(self, n_images):
        """The first message of each kind and on how many images it was given, by label."""
        return {label: [f"{first} ({len(images)} of {n_images} images)"
                        for first, images in kinds.values()]
                for label, kinds in self._found.items()}
