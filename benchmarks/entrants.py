"""Who takes part in the scripts beside it: methods by name, and networks from files."""

import inspect
import sys
import warnings

from lenssr import LensSRWarning, list_methods, superresolve
from lenssr.methods import make_method
from lenssr.weights import read_card, shipped_weights

SCALE = 2
CLASSICAL = ("bilinear", "richardson_lucy", "wiener")


def add_arguments(parser, networks=("unrolled", "rcan")):
    """``--methods`` and ``--weights``; `networks` take part by default if they have weights."""
    parser.add_argument("--methods", nargs="+", metavar="NAME",
                        default=[*CLASSICAL, *(n for n in networks if shipped_weights(n))],
                        help="methods beside the classical ones, which always take part")
    parser.add_argument("--weights", nargs="+", default=[], metavar="FILE[=LABEL]",
                        help="further networks, from files of weights with their cards")
    parser.add_argument("--consistent", nargs="+", default=[], metavar="LABEL",
                        help="of these, once more the results that were moved to agree with the "
                        "data")


def entrants(args):
    """
    What takes part: a dictionary of labels with the method and the options of each.

    Exits with one line if a name is unknown or a file is no weights.
    """
    known = [str(name) for name in list_methods()["name"]]
    found = {}
    for name in dict.fromkeys((*CLASSICAL, *args.methods)):
        if name not in known:
            sys.exit(f"--methods must be of {', '.join(known)}, got {name!r}")
        found[name] = (name, {})
    for word in args.weights:
        file, _, label = word.partition("=")
        try:
            card = read_card(file)
        except (OSError, ValueError) as err:
            sys.exit(str(err))
        found[label or card.name] = (card.network["architecture"], {"weights": file})
    for label in args.consistent:
        if label not in found:
            sys.exit(f"--consistent must be of {', '.join(found)}, got {label!r}")
        method, own = found[label]
        found[f"{label}_consistent"] = (method, {**own, "data_consistent": True})
    return found


def restore(image, entrant, probes=1, **options):
    """The result of an entrant; `probes` of its errors, for methods that find them so."""
    method, own = entrant
    plain = {name: value for name, value in own.items() if name != "data_consistent"}
    if "n_probes" in inspect.signature(type(make_method(method, SCALE, plain))).parameters:
        own = {"n_probes": probes, **own}
    with warnings.catch_warnings():
        # Some of these images are at the limits of what a network was trained on.
        warnings.simplefilter("ignore", LensSRWarning)
        return superresolve(image, method, scale=SCALE, **{**own, **options})
