"""Command line of lenssr."""

import argparse
import os
import sys
import warnings


def main(arguments=None):
    """Run the command line ``lenssr`` and return its exit status."""
    from lenssr import LensSRWarning

    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        # Show every warning, whatever PYTHONWARNINGS says: nothing is dropped silently.
        warnings.simplefilter("always", LensSRWarning)
        warnings.showwarning = _show_warning
        try:
            options.command(options)
        except KeyboardInterrupt:
            print("lenssr: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # The reader of a pipe has closed it; there is nobody to report to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as err:
            if options.debug:
                raise
            line = " ".join(str(err).split()) or type(err).__name__
            print(f"lenssr: error: {line}", file=sys.stderr)
            return 1
    return 0


def _show_warning(message, category, filename, lineno, file=None, line=None):
    # Deprecations in other libraries do not concern the user.
    if issubclass(category, (UserWarning, RuntimeWarning)):
        print(f"lenssr: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser():
    from lenssr import __version__

    parser = argparse.ArgumentParser(
        prog="lenssr", description="Super-resolution of images of strong gravitational lenses.")
    parser.add_argument("--version", action="version", version=f"lenssr {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, about, example):
        sub = commands.add_parser(
            name, parents=[common], help=about, description=about, epilog=f"example: {example}")
        sub.set_defaults(command=function)
        return sub

    demo = command("demo", _demo, "super-resolve the real lens that comes with lenssr",
                   "lenssr demo --out first-light")
    demo.add_argument("--out", default="lenssr-demo", metavar="FOLDER",
                      help="folder for FITS files and figure (default: %(default)s)")
    demo.add_argument("--overwrite", action="store_true", help="replace files that are there")
    demo.add_argument("--device", help="torch device")

    sr = command("superresolve", _superresolve, "super-resolve a FITS image",
                 "lenssr superresolve lens.fits sharp.fits --method richardson_lucy "
                 "--psf 0.7arcsec")
    sr.add_argument("input", metavar="IN.fits")
    sr.add_argument("output", metavar="OUT.fits")
    sr.add_argument("--method", help="name from `lenssr methods` (default: unrolled with a PSF, "
                                     "rcan without)")
    sr.add_argument("--scale", type=int, default=2, help="default: %(default)s")
    sr.add_argument("--psf", help="FITS file, or FWHM such as 0.7arcsec or 3pix")
    sr.add_argument("--unit", help="unit of the image, where BUNIT is missing or wrong")
    sr.add_argument("--flux", default="auto", choices=("auto", "per-pixel", "surface-brightness"))
    sr.add_argument("--hdu", help="number or name of the HDU")
    sr.add_argument("--tile", type=int, help="side of the tiles, in input pixels")
    sr.add_argument("--device", help="torch device")
    sr.add_argument("--samples", type=int, metavar="N", help="number of posterior samples, for "
                    "methods that draw them; OUT.fits then has them")
    sr.add_argument("--seed", type=int, help="seed of the random numbers (default: 0)")
    sr.add_argument("--data-consistent", action="store_true", help="move the result to the nearest "
                    "image that the data allow: a reduced chi2 of one")
    sr.add_argument("--option", action="append", default=[], metavar="KEY=VALUE",
                    help="option of the method; may be repeated")
    sr.add_argument("--overwrite", action="store_true", help="replace OUT.fits")

    command("methods", _methods, "list the methods", "lenssr methods")

    simulate = command(
        "simulate", _simulate, "simulate a catalogue of pairs, or go on with it",
        "lenssr simulate pairs --n 10000 --preset hsc-hst --engine torch --workers 2")
    simulate.add_argument("output", metavar="OUT", help="folder of the catalogue")
    simulate.add_argument("--n", type=int, required=True, help="number of pairs")
    simulate.add_argument("--preset", default="hsc-hst", help="population, instrument and size "
                          "by name (default: %(default)s)")
    simulate.add_argument("--substructure", nargs="+", default=["no_sub", "cdm", "axion"],
                          metavar="CLASS", help="classes of dark matter, which take turns "
                          "(default: no_sub cdm axion)")
    simulate.add_argument("--instrument", help="name of a telescope that replaces the preset's")
    simulate.add_argument("--population", metavar="FILE.toml",
                          help="priors that replace the preset's")
    simulate.add_argument("--scale", type=int, default=2, help="default: %(default)s")
    simulate.add_argument("--size", type=int, help="side of the observed image, pixels")
    simulate.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    simulate.add_argument("--engine", default="lenstronomy", help="lenstronomy or torch "
                          "(default: %(default)s)")
    simulate.add_argument("--workers", type=int, default=1,
                          help="processes (default: %(default)s)")

    show = command("show", _show, "draw pairs of a catalogue on one sheet",
                   "lenssr show pairs --out sheet.png --n 24")
    show.add_argument("pairs", metavar="PAIRS", help="folder of the catalogue")
    show.add_argument("--out", default="pairs.png", metavar="SHEET.png",
                      help="figure (default: %(default)s)")
    show.add_argument("--n", type=int, default=12, help="number of pairs (default: %(default)s)")
    show.add_argument("--overwrite", action="store_true", help="replace the figure")

    bench = command(
        "benchmark", _benchmark, "compare all methods on the same pairs",
        "lenssr benchmark clean noisy --n 100 --out scores --weights net.safetensors=mine")
    bench.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="clean, noisy or "
                       "observed, which are all by default; a preset; a folder of pairs")
    bench.add_argument("--experiment", choices=("dark-matter",), help="run the dark-matter "
                                                                      "experiment, which trains "
                                                                      "classifiers and networks "
                                                                      "for hours; a preset "
                                                                      "(default: classification), "
                                                                      "--n, --out, --device and "
                       "--overwrite go with it")
    bench.add_argument("--n", type=int, help="number of pairs (default: 100; of dark-matter: "
                       "1800)")
    bench.add_argument("--out", default="lenssr-benchmark", metavar="FOLDER",
                       help="folder for tables and figures (default: %(default)s)")
    bench.add_argument("--methods", nargs="+", metavar="NAME", help="names that `lenssr methods` "
                       "lists, or optimal_linear (default: the classical ones and all networks)")
    bench.add_argument("--weights", action="append", default=[], metavar="FILE[=LABEL]",
                       help="a further network; files of one label are its seeds; may be repeated")
    bench.add_argument("--scale", type=int, help="default: 2, or that of a folder")
    bench.add_argument("--seed", type=int, default=2, help="default: %(default)s")
    bench.add_argument("--training", type=int, default=200, help="pairs that the linear filter "
                       "learns from (default: %(default)s)")
    bench.add_argument("--psf", help="FITS file, or FWHM such as 2pix, for pairs without a PSF")
    bench.add_argument("--assumed-snr", type=float, default=22.0, help="peak over noise of inputs "
                       "without an uncertainty (default: %(default)s)")
    bench.add_argument("--data-range", type=float, help="data range of all pairs, in place of the "
                                                        "peak of each truth")
    bench.add_argument("--device", help="torch device")
    bench.add_argument("--overwrite", action="store_true", help="replace files that are there")

    page = command(
        "report", _report, "write one page of HTML that shows a result, or a benchmark",
        "lenssr report lens.html sharp.fits --input lens.fits --compare other.fits=other")
    page.add_argument("output", metavar="OUT.html")
    page.add_argument("result", nargs="?", metavar="RESULT.fits",
                      help="result of `lenssr superresolve`")
    page.add_argument("--input", metavar="IN.fits", help="the image that was restored")
    page.add_argument("--truth", metavar="HR.fits", help="truth on the grid of the result")
    page.add_argument("--compare", action="append", default=[], metavar="OTHER.fits[=NAME]",
                      help="a further result of the same image; may be repeated")
    page.add_argument("--benchmark", metavar="FOLDER",
                      help="folder of tables and figures in place of a result")
    page.add_argument("--psf", help="PSF of the input: FITS file, or FWHM such as 0.7arcsec")
    page.add_argument("--unit", help="unit of the input, where BUNIT is missing or wrong")
    page.add_argument("--hdu", help="number or name of the HDU of the input")
    page.add_argument("--plane", type=int, default=0,
                      help="which plane of a cube (default: %(default)s)")
    page.add_argument("--center", type=float, nargs=2, metavar=("X", "Y"), help="pixel of the "
                      "result about which apertures lie and large images are cut")
    page.add_argument("--size", type=int, default=512, help="largest number of pixels along each "
                                                            "axis (default: %(default)s)")
    page.add_argument("--prior-map", action="store_true", help="add the map of the fraction that "
                                                               "the prior determines")
    page.add_argument("--title", help="title of the page")
    page.add_argument("--overwrite", action="store_true", help="replace OUT.html")

    trust = command(
        "fidelity", _fidelity, "test results as astronomical measurements",
        "lenssr fidelity hsc-hst --n 100 --methods richardson_lucy rcan --out trust")
    trust.add_argument("pairs", nargs="?", default="hsc-hst", metavar="PAIRS", help="a preset, "
                       "clean, noisy or observed, or a folder of pairs (default: %(default)s)")
    trust.add_argument("--n", type=int, default=100, help="number of pairs (default: %(default)s)")
    trust.add_argument("--out", default="lenssr-fidelity", metavar="FOLDER",
                       help="folder for tables and figure (default: %(default)s)")
    trust.add_argument("--methods", nargs="+", metavar="NAME", help="names that `lenssr methods` "
                       "lists (default: the classical ones and all networks)")
    trust.add_argument("--weights", action="append", default=[], metavar="FILE[=LABEL]",
                       help="a further network; may be repeated")
    trust.add_argument("--parts", nargs="+", metavar="PART", help="some of flux, shift, shape, "
                       "transfer, coverage, consistency, stars, blank, twins and einstein "
                       "(default: all)")
    trust.add_argument("--scale", type=int, help="default: 2, or that of a folder")
    trust.add_argument("--seed", type=int, default=2, help="default: %(default)s")
    trust.add_argument("--psf", help="FITS file, or FWHM such as 2pix, for pairs without a PSF")
    trust.add_argument("--psf-scale-error", type=float, default=1.0, metavar="FACTOR",
                       help="factor of the PSF width that methods get (default: %(default)s)")
    trust.add_argument("--noise-scale-error", type=float, default=1.0, metavar="FACTOR",
                       help="factor of the noise that methods get (default: %(default)s)")
    trust.add_argument("--device", help="torch device")
    trust.add_argument("--overwrite", action="store_true", help="replace files that are there")

    train = command("train", _train, "train a network by a recipe, or go on with it",
                    "lenssr train rcan_x2 --out runs/rcan_x2")
    train.add_argument("recipe", metavar="RECIPE", help="TOML file, or name of a shipped recipe")
    train.add_argument("--out", metavar="FOLDER",
                       help="folder for checkpoint, curve, weights and card")
    train.add_argument("--init", metavar="WEIGHTS", help="weights to begin with: a .safetensors "
                       "file, or name of shipped ones")
    train.add_argument("--find-lr", action="store_true", help="run a learning-rate range test in "
                                                              "place of a training; FOLDER gets "
                                                              "lr.csv and lr.png")
    train.add_argument("--device", help="torch device")
    _add_workers(train)

    tune = command("finetune", _finetune, "carry a trained network over to observed pairs",
                   "lenssr finetune rcan-x2 pairs --out runs/tuned")
    tune.add_argument("weights", metavar="WEIGHTS",
                      help="name of weights in the package, or a .safetensors file")
    tune.add_argument("pairs", metavar="PAIRS", help="folder of a catalogue of pairs")
    tune.add_argument("--out", required=True, metavar="FOLDER",
                      help="folder for checkpoints, curves, weights and card")
    tune.add_argument("--steps", type=int, nargs=2, default=[500, 1500], metavar="N",
                      help="steps of the up-sampling part alone, and of all (default: 500 1500)")
    tune.add_argument("--adapt", action="store_true",
                      help="use no targets: adapt the features to simulated images (ADDA)")
    tune.add_argument("--device", help="torch device")

    calibrate = command("calibrate", _calibrate, "learn the errors of a network, so that its "
                        "results have them, or go on with it",
                        "lenssr calibrate rcan-x2 --out runs/calibrated")
    calibrate.add_argument("weights", metavar="WEIGHTS",
                           help="name of weights in the package, or a .safetensors file")
    calibrate.add_argument("--out", metavar="FOLDER", help="folder for the run and the calibrated "
                           "weights (default: NAME-calibrated)")
    calibrate.add_argument("--recipe", metavar="RECIPE", help="recipe whose [data] replaces that "
                                                              "of the card")
    calibrate.add_argument("--images", type=int, help="training images of the error head "
                           "(default: 5000)")
    calibrate.add_argument("--held-out", type=int, metavar="N", help="images of unseen scenes that "
                           "it is calibrated on (default: 600)")
    calibrate.add_argument("--steps", type=int, help="steps of the training (default: 6000)")
    calibrate.add_argument("--seed", type=int, help="default: 5")
    calibrate.add_argument("--device", help="torch device")

    what = command("classify", _classify, "classify the dark matter in images of lenses",
                   "lenssr classify sharp.fits other.fits --out table.ecsv")
    what.add_argument("images", nargs="+", metavar="IMAGE", help="FITS images, or one folder of a "
                                                                 "catalogue of pairs")
    what.add_argument("--classifier", default="classifier-resnet18", metavar="WEIGHTS",
                      help="a .safetensors file, or name of shipped ones: "
                      "classifier-resnet18-sr-all for images that rcan-all restored (default: "
                      "%(default)s, for sharp ones)")
    what.add_argument("--hdu", help="number or name of the HDU")
    what.add_argument("--out", metavar="TABLE.ecsv", help="write the table, too")
    what.add_argument("--device", help="torch device")
    what.add_argument("--overwrite", action="store_true", help="replace TABLE.ecsv")

    teach = command("train-classifier", _train_classifier, "train a classifier by a recipe, or go "
                    "on with it",
                    "lenssr train-classifier classifier_resnet18 --out runs/classifier")
    teach.add_argument("recipe", metavar="RECIPE", help="TOML file, or name of a shipped recipe")
    teach.add_argument("--out", required=True, metavar="FOLDER",
                       help="folder for checkpoint, curve, weights and card")
    teach.add_argument("--device", help="torch device")
    _add_workers(teach)

    evaluate = command("evaluate", _evaluate, "measure the metrics in the card of weights again",
                       "lenssr evaluate rcan-x2")
    evaluate.add_argument("weights", metavar="WEIGHTS",
                          help=".safetensors file with its card, or name of shipped weights")
    evaluate.add_argument("--device", help="torch device")
    return parser


def _add_workers(parser):
    parser.add_argument("--workers", type=int, help="worker processes that prepare batches "
                                                    "(default: up to eight for a GPU, none for a "
                                                    "CPU)")


def _demo(options):
    from lenssr._demo import run_demo

    table = run_demo(options.out, overwrite=options.overwrite, device=options.device)
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    print(f"FITS files and demo.png are in {options.out}")


def _superresolve(options):
    from lenssr import superresolve

    _check_output("OUT.fits", options.output, options.overwrite)
    image = superresolve(
        options.input, options.method, scale=options.scale, psf=_psf(options.psf),
        unit=options.unit, flux=options.flux, device=options.device, seed=options.seed,
        tile=options.tile, hdu=_number(options.hdu), progress=sys.stderr.isatty(),
        data_consistent=options.data_consistent, n_samples=options.samples,
        **dict(_option(text) for text in options.option))
    image.write(options.output, overwrite=options.overwrite)


def _methods(options):
    from lenssr import list_methods

    print("\n".join(list_methods().pformat(max_lines=-1, max_width=-1)))


def _simulate(options):
    from lenssr.simulate import Population, simulate_catalog

    population = options.population and Population.read(options.population)
    catalog = simulate_catalog(
        options.output, options.n, options.preset, substructure=tuple(options.substructure),
        instrument=options.instrument, population=population, scale=options.scale,
        size=options.size, seed=options.seed, engine=options.engine, workers=options.workers,
        progress=sys.stderr.isatty())
    print(f"{len(catalog)} pairs are in {options.output}")


def _show(options):
    from lenssr.evaluate import plot_catalog
    from lenssr.simulate import open_catalog

    _check_output("--out", options.out, options.overwrite)
    figure = plot_catalog(open_catalog(options.pairs), options.n)
    tmp_path = os.path.join(os.path.dirname(os.path.abspath(options.out)),
                            f".part-{os.path.basename(options.out)}")
    figure.savefig(tmp_path, dpi=110)
    os.replace(tmp_path, options.out)


def _benchmark(options):
    from lenssr.evaluate import EXPERIMENTS, benchmark
    from lenssr.simulate import PRESETS

    if options.experiment is not None:
        _dark_matter(options)
        return
    experiments = options.experiments or list(EXPERIMENTS)
    known = (*EXPERIMENTS, *PRESETS)
    for name in experiments:
        # Fail before the first training starts.
        if name not in known and not os.path.isdir(name):
            raise ValueError(f"`EXPERIMENT` must be one of {', '.join(known)}, or a folder, "
                             f"got {name!r}")
        path = os.path.join(options.out, f"{os.path.basename(os.path.abspath(name))}.ecsv")
        if os.path.exists(path) and not options.overwrite:
            raise OSError(f"{path} exists already; say --overwrite to replace it")
    weights = _labelled_weights(options.weights)
    for k, name in enumerate(experiments):
        result = benchmark(
            name, options.methods, weights=weights, n=100 if options.n is None else options.n,
            seed=options.seed, scale=options.scale, psf=_psf(options.psf),
            assumed_snr=options.assumed_snr,
            data_range="peak" if options.data_range is None else options.data_range,
            training=options.training, out=options.out, overwrite=options.overwrite,
            device=options.device, progress=sys.stderr.isatty())
        print("\n" * bool(k) + str(result), flush=True)
    print(f"\nTables and figures are in {options.out}")


def _dark_matter(options):
    from lenssr.classify import dark_matter

    if len(options.experiments) > 1 or options.methods or options.weights:
        raise ValueError("`--experiment dark-matter` must be given with one preset at the most, "
                         "and without --methods or --weights")
    options_given = {} if options.n is None else {"n": options.n}
    if options.experiments:
        options_given["preset"] = options.experiments[0]
    print(dark_matter(options.out, **options_given, device=options.device,
                      overwrite=options.overwrite,
                      progress=sys.stderr.isatty()))
    print(f"\nTables and figure are in {options.out}")


def _report(options):
    from lenssr.evaluate import report

    _check_output("OUT.html", options.output, options.overwrite)
    if (options.result is None) == (options.benchmark is None):
        raise ValueError("`RESULT.fits` or --benchmark must be given, and not both")
    compare = dict(_labelled(text) for text in options.compare)
    if options.benchmark is not None and not os.path.isdir(options.benchmark):
        raise ValueError(f"`--benchmark` must be a folder, there is none {options.benchmark!r}")
    report(options.output, options.result or options.benchmark, options.input,
           truth=options.truth, compare=compare, prior_map=options.prior_map or None,
           psf=_psf(options.psf), unit=options.unit, hdu=_number(options.hdu),
           plane=options.plane, center=options.center, size=options.size, title=options.title,
           overwrite=options.overwrite)


def _labelled_weights(texts):
    """Parse words ``FILE[=LABEL]`` to a dict of weights files."""
    weights = {}
    for text in texts:
        label, file = _labelled(text)
        weights.setdefault(label, []).append(file)
    return weights


def _fidelity(options):
    from lenssr.evaluate import fidelity

    parts = {} if options.parts is None else {"parts": options.parts}
    result = fidelity(
        options.pairs, options.methods, weights=_labelled_weights(options.weights), n=options.n,
        seed=options.seed, scale=options.scale, psf=_psf(options.psf),
        psf_scale_error=options.psf_scale_error,
        noise_scale_error=options.noise_scale_error, out=options.out, overwrite=options.overwrite,
        device=options.device, progress=sys.stderr.isatty(), **parts)
    print(f"{result}\n\nTables and figure are in {options.out}")


def _check_output(name, path, overwrite):
    """Raise an error before any work if an output file exists."""
    if os.path.exists(path) and not overwrite:
        raise OSError(f"{path} exists already; say --overwrite to replace it")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.access(folder, os.W_OK):
        raise OSError(f"{name} must be in a folder that can be written to, got {folder}")


def _train(options):
    from lenssr.train import find_learning_rate, fit

    if options.find_lr:
        if options.init is not None:
            raise ValueError("`--init` must be left out with --find-lr; give `init` in the recipe")
        sweep = find_learning_rate(options.recipe, options.out, device=options.device)
        print(f"steepest fall at {sweep.steepest:.2e}, a tenth of the lowest at "
              f"{sweep.tenth:.2e}; try learning_rate = {sweep.suggestion:.1e}")
        return
    if options.out is None:
        raise ValueError("`--out` must name the folder for checkpoint, curve, weights and card")
    print(fit(options.recipe, options.out, init=options.init, device=options.device,
              workers=options.workers))


def _finetune(options):
    from lenssr.train import adapt, finetune

    if options.adapt:
        print(adapt(options.weights, options.pairs, options.out, device=options.device))
        return
    print(finetune(options.weights, options.pairs, options.out, steps=tuple(options.steps),
                   device=options.device))


def _calibrate(options):
    from lenssr.train import calibrate
    from lenssr.weights import read_card

    changed = {name: getattr(options, name) for name in ("images", "held_out", "steps", "seed")}
    path = calibrate(options.weights, options.out, recipe=options.recipe, device=options.device,
                     **{name: value for name, value in changed.items() if value is not None})
    for scale, table in read_card(path).calibration["scales"].items():
        print(f"pixels within 1 and 2 sigma at scale {scale}, by signal to noise, before and after")
        for name, after in table["coverage"].items():
            before = table["measurement"][name]
            print(f"  {name:9} {100 * before[0]:5.1f} {100 * before[1]:5.1f} %   "
                  f"{100 * after[0]:5.1f} {100 * after[1]:5.1f} %")
    print(path)


def _classify(options):
    from lenssr.classify import classify

    if options.out is not None:
        _check_output("--out", options.out, options.overwrite)
    images = options.images[0] if len(options.images) == 1 else options.images
    table = classify(images, options.classifier, hdu=_number(options.hdu), device=options.device)
    if len(options.images) == len(table):
        table["image"] = options.images
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    if options.out is not None:
        tmp_path = os.path.join(os.path.dirname(os.path.abspath(options.out)),
                                f".part-{os.path.basename(options.out)}")
        table.write(tmp_path, format="ascii.ecsv", overwrite=True)
        os.replace(tmp_path, options.out)


def _train_classifier(options):
    from lenssr.classify import train_classifier

    print(train_classifier(options.recipe, options.out, device=options.device,
                           workers=options.workers))


def _evaluate(options):
    from lenssr.classify import evaluate_classifier
    from lenssr.train import evaluate_weights
    from lenssr.weights import find_weights, read_card

    classifies = read_card(find_weights(options.weights)).classifier
    table = (evaluate_classifier if classifies else evaluate_weights)(
        options.weights, device=options.device)
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))


def _psf(text):
    """Parse a FWHM with a unit, or return a path."""
    from astropy import units as u

    if text is None or os.path.exists(text):
        return text
    try:
        return u.Quantity(text)
    except (TypeError, ValueError):
        raise ValueError(f"`psf` must be a FITS file or a FWHM such as 0.7arcsec, "
                         f"got {text!r}") from None


def _number(text):
    """Parse an int or a float, or return the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text


def _labelled(text):
    """Parse ``FILE=LABEL``; the default label is the file name."""
    file, _, label = text.partition("=")
    return label or os.path.splitext(os.path.basename(file))[0], file


def _option(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"`--option` must be KEY=VALUE, got {text!r}")
    return key, _number(value)
