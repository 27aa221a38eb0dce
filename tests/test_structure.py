"""Structure of the package: direction of imports, interfaces, sizes, and form of docstrings."""

import ast
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lenssr"
pytestmark = pytest.mark.skipif(not (PACKAGE / "__init__.py").exists(),
                                reason="the source tree is not here")

# A package or module imports only from lower layers, which stand further down.
LAYERS = (
    ("cli", "__main__"), ("_demo",), ("classify",), ("train",), ("evaluate",), ("_superresolve",),
    ("methods",), ("weights",), ("networks",), ("simulate",), ("lensing",), ("data",),
    ("_forward_model",), ("image",), ("uncertainty",),
    ("_pair", "_io", "_warnings", "_validation", "_lazy", "_version"), ("exceptions",),
)
LAYER_OF = {name: k for k, names in enumerate(LAYERS) for name in names}
MAX_LINES = 600
MAX_FILES = 140
OPENINGS = re.compile(r"(What|That|Those|Of|How|Whether|Which)\b")


def sources(*folders):
    """Paths of the Python files below folders of the source tree."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
            if path.name != "_version.py"]


def module_name(path):
    """Dotted name of the module of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Modules and names that a file imports, ``(module, name or None)``, functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or node.module == "_version", f"{path}: relative import"
            if node.level == 0:
                yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


def exported_modules(path):
    """Modules whose names an ``__init__`` exports on first use: strings that begin with a dot."""
    return [node.value for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and re.fullmatch(r"\.[a-z_0-9.]+", node.value)]


def package_of(module):
    """Name of the top-level package or module of lenssr that holds a module."""
    parts = module.split(".")
    return parts[1] if parts[0] == "lenssr" and len(parts) > 1 else None


def test_imports_go_one_way():
    wrong = []
    for path in sources("lenssr"):
        importer = package_of(module_name(path))
        if importer is None:
            continue
        for module, name in imports(path):
            imported = package_of(module)
            if module == "lenssr" and name not in (None, "__version__"):
                imported = {"superresolve": "_superresolve", "LensSRWarning": "exceptions",
                            "SuperResolvedImage": "image"}.get(name, "methods")
            if imported is None or imported == importer:
                continue
            if LAYER_OF[imported] <= LAYER_OF[importer] and importer != "__main__":
                wrong.append(f"{module_name(path)} imports {module}")
    assert not wrong, wrong


def test_no_circle_of_modules():
    modules = {module_name(path): path for path in sources("lenssr")}
    graph = {}
    for name, path in modules.items():
        edges = set()
        for module, attribute in imports(path):
            target = f"{module}.{attribute}"
            edges.add(target if target in modules else module)
        graph[name] = {edge for edge in edges if edge in modules and edge != name}
    done, stack = set(), []

    def visit(name):
        assert name not in stack, " -> ".join([*stack[stack.index(name):], name])
        if name in done:
            return
        stack.append(name)
        for edge in graph[name]:
            visit(edge)
        stack.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_packages_meet_through_their_interfaces():
    private = []
    for path in sources("lenssr", "tests", "benchmarks", "examples", "docs", "tools"):
        module_own = module_name(path)
        inside = package_of(module_own) if path.is_relative_to(PACKAGE) else None
        for module, name in imports(path):
            parts = f"{module}.{name}".split(".") if name else module.split(".")
            if parts[0] != "lenssr":
                continue
            if path.parent == PACKAGE:
                wrong = any(re.match(r"_[a-z]", part) for part in parts[2:])
            elif inside is None:
                # Outside of the package, no part of the path of a module is private.
                wrong = any(re.match(r"_[a-z]", part) for part in parts[1:])
            else:
                wrong = (parts[1] != inside and len(parts) > 2
                         and any(re.match(r"_[a-z]", part) for part in parts[2:]))
            if wrong:
                private.append(f"{path.relative_to(ROOT)}: {'.'.join(parts)}")
    assert not private, private


def test_no_patch_of_a_private_module():
    wrong = [f"{path.relative_to(ROOT)}: {match}" for path in sources("tests")
             for match in re.findall(r"setattr\(\s*[\"']lenssr[\w.]*\._\w+[^,]*", path.read_text())]
    assert not wrong, wrong


def test_size_of_files():
    lines = {path: len(path.read_text().splitlines()) for path in sources("lenssr")}
    assert len(lines) <= MAX_FILES
    assert not {str(path): n for path, n in lines.items() if n > MAX_LINES}


def test_every_docstring_begins_with_its_subject():
    wrong = []
    for path in sources("lenssr"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and OPENINGS.match(text):
                    wrong.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert not wrong, wrong


def test_every_public_name_is_documented():
    import lenssr

    missing = []
    for path in sources("lenssr"):
        if path.name != "__init__.py" or package_of(module_name(path)) is None:
            continue
        package = getattr(__import__(module_name(path), fromlist=["__all__"]), "__all__", [])
        for name in package:
            item = getattr(__import__(module_name(path), fromlist=[name]), name)
            if callable(item) and getattr(item, "__module__", "").startswith("lenssr"):
                text = item.__doc__ or ""
                takes_arguments = (bool(inspect.signature(item).parameters)
                                   and not getattr(item, "_is_protocol", False))
                for section in ("Parameters", "Examples")[not takes_arguments:]:
                    if section not in text and not _is_exception(item):
                        missing.append(f"{module_name(path)}.{name}: {section}")
    assert lenssr.__all__
    assert not missing, missing


def _is_exception(item):
    """Report whether an object is an exception or a warning, whose name says all."""
    return isinstance(item, type) and issubclass(item, Exception)
