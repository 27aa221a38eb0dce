"""Configuration of the documentation: Astropy's shared one, and what is our own."""

import csv
import io
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils.parsers.rst.directives.tables import CSVTable
from sphinx_astropy.conf.v3 import *  # noqa: F403
from sphinx_gallery.sorting import FileNameSortKey

sys.path.insert(0, str(Path(__file__).parent))

import _tables  # noqa: E402

# -- Project ----------------------------------------------------------------------------------

project = "lenssr"
author = "The lenssr developers"
copyright = f"2026, {author}"
release = installed_version(project)
version = release.split("+")[0]

# -- General ----------------------------------------------------------------------------------

highlight_language = "default"  # Python where it is Python, and nothing where it is not
extensions += ["sphinx_design", "sphinx_gallery.gen_gallery"]
exclude_patterns += ["gallery/*.ipynb", "**/sg_execution_times.rst", "sg_execution_times.rst"]
toc_object_entries = False
suppress_warnings += ["config.cache"]  # sphinx_gallery_conf holds a class, which cannot be pickled

# The build reads nothing from the network unless it is asked to.
online = os.environ.get("LENSSR_DOCS_INTERSPHINX") == "1" or "READTHEDOCS" in os.environ
if online:
    intersphinx_mapping.update({
        "lenstronomy": ("https://lenstronomy.readthedocs.io/en/latest/", None),
        "photutils": ("https://photutils.readthedocs.io/en/stable/", None),
        "reproject": ("https://reproject.readthedocs.io/en/stable/", None),
        "skimage": ("https://scikit-image.org/docs/stable/", None),
        "torch": ("https://pytorch.org/docs/stable/", None),
    })
else:
    intersphinx_mapping = {}

# A reference to a public name of ours must be found; one to a name of others is found online
# only. What does not start with a package is a parameter, or of the docstring's own module.
nitpicky = True
nitpick_ignore_regex = [
    # The common base of the substructure priors is not public.
    (r"py:class", r"lenssr\.simulate\._substructure_priors\.SubstructurePrior"),
    (r"py:obj", r"(?!lenssr\.)\w+(\.\w+)?"),
    (r"py:.*", r"(astropy|dask|h5py|lenstronomy|matplotlib|numpy|photutils|reproject|safetensors"
               r"|scipy|skimage|torch|tqdm|zarr)(\..*)?"),
    (r"py:.*", r"(bool|bytes|callable|complex|dict|float|int|list|object|set|slice|str|tuple|type"
               r"|None|True|False|NotImplemented|os\.PathLike|pathlib\.\w+|[A-Z]\w+Error)"),
]

# -- API reference ----------------------------------------------------------------------------

automodsumm_inherited_members = False  # SuperResolvedImage would repeat all of CCDData
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# -- Gallery ----------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("lenssr",),
    "remove_config_comments": True,
    "min_reported_time": 1e9,  # times of one machine say nothing about another
    "show_memory": False,
}

# -- Figures in pages -------------------------------------------------------------------------

plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True

# -- Tables of what the package holds ---------------------------------------------------------


class MadeTable(CSVTable):
    """A table of ``rows``, a function of the names that the directive is given."""

    has_content = False

    def run(self):
        # Of the base class the argument is a title.
        self.names, self.arguments = " ".join(self.arguments).split(), []
        self.options["header-rows"] = self.options["stub-columns"] = 1
        return super().run()

    def get_csv_data(self):
        text = io.StringIO()
        csv.writer(text).writerows(self.rows(*self.names))
        return text.getvalue().splitlines(), self.name


# -- HTML -------------------------------------------------------------------------------------

html_title = f"lenssr {version}"
html_logo = ""  # the theme would show Astropy's
html_theme_options = {
    "sst_project_name": "lenssr",
    "navbar_links": [],
    "footer_links": [],
    "goatcounter_analytics_url": False,  # the theme would report our readers to Astropy's counter
}

# -- Links ------------------------------------------------------------------------------------

linkcheck_ignore = [r"https://doi\.org/.*",  # publishers turn robots away
                    r"demo_report\.html"]     # made below
linkcheck_retries = 3

# -- Example of a report ----------------------------------------------------------------------


def write_report(app, exception):
    """The page that ``user_guide/report`` shows, beside it."""
    from lenssr import superresolve
    from lenssr.data import demo_lens
    from lenssr.evaluate import report

    if exception is None and app.builder.format == "html":
        pair = demo_lens()
        results = [superresolve(pair.lr, name) for name in ("rcan", "richardson_lucy", "bilinear")]
        report(Path(app.outdir) / "user_guide" / "demo_report.html", results[0], pair.lr,
               truth=pair.hr, compare=results[1:], overwrite=True)


def setup(app):
    for name, rows in (("classifiers-table", _tables.classifier_rows),
                       ("methods-table", _tables.method_rows),
                       ("weights-table", _tables.weight_rows)):
        app.add_directive(name, type(name, (MadeTable,), {"rows": staticmethod(rows)}))
    app.connect("build-finished", write_report)
