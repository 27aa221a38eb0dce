"""Recording of warnings, for the header of an image and for summaries."""

import functools
import warnings
from contextlib import contextmanager, suppress

from lenssr.exceptions import LensSRWarning

WARNING_KEYWORD = "SRWARN{}"
MAX_WARNINGS = 99  # warnings in a header: two digits fit into a keyword of eight characters


@contextmanager
def collect_warnings():
    """Yield a list that receives the warnings of the block, none of which is shown."""
    with warnings.catch_warnings(record=True) as caught:
        # Even warnings that the caller filters out.
        warnings.simplefilter("always", LensSRWarning)
        yield caught


@contextmanager
def record_warnings():
    """Yield a list that receives the warnings of the block, and emit them all at its end."""
    caught = []
    try:
        with collect_warnings() as caught:
            yield caught
    except BaseException:
        with suppress(Warning):  # as an error, a warning must not hide the exception
            _emit(caught)
        raise
    _emit(caught)


def _emit(caught):
    for warning in caught:
        if issubclass(warning.category, LensSRWarning):
            warnings.warn(warning.message, stacklevel=5)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename,
                                   warning.lineno)


def unique_messages(caught):
    """Return the text of each different `LensSRWarning` among recorded warnings."""
    return list(dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught
                              if issubclass(warning.category, LensSRWarning)))


def warnings_to_header(function):
    """Decorate a function to write its warnings as cards SRWARN1, SRWARN2, ... of its result."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        with record_warnings() as caught:
            image = function(*args, **kwargs)
            for k, text in enumerate(unique_messages(caught)[:MAX_WARNINGS], 1):
                # FITS cards hold ASCII only.
                image.meta[WARNING_KEYWORD.format(k)] = text.encode("ascii", "replace").decode()
        return image

    return call
