"""The house: what may import what, what is installed, what a fresh interpreter loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgemeta

ROOT = Path(edgemeta.__file__).parent
HEAVY = {"torch", "onnxruntime", "PIL", "scipy", "sklearn", "ai_edge_litert", "tflite_runtime", "onnx", "safetensors"}
DEVICE = [p for p in ROOT.rglob("*.py") if "meta" not in p.relative_to(ROOT).parts[:-1]]


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import edgemeta",
        "import edgemeta.learner, edgemeta.cli, edgemeta.data, edgemeta.evaluation, edgemeta.demo",
        "from edgemeta.cli import build_parser; build_parser()",
        "from edgemeta import *",
        "from edgemeta import Learner; import numpy; l = Learner(dim=3); l.learn(numpy.ones(3), 'a'); "
        "l.predict(numpy.ones(3))",
    ],
)
def test_the_device_path_loads_nothing_heavy(code):
    assert not loaded_by(code) & HEAVY


def test_no_pickle_on_the_device_path():
    modules = loaded_by("from edgemeta import Learner, Bundle")
    numpys = loaded_by("import numpy")
    assert "pickle" not in modules - numpys


@pytest.mark.parametrize("path", DEVICE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_device_imports_no_workshop_at_module_level(path):
    def module_level(node: ast.AST) -> list[ast.AST]:
        inner = [c for c in ast.iter_child_nodes(node) if not isinstance(c, (ast.FunctionDef, ast.AsyncFunctionDef))]
        return [node] + [x for c in inner for x in module_level(c)]

    for node in module_level(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module or ''}.{a.name}".lstrip(".") for a in node.names)]
        for name in names:
            parts = name.split(".")
            guarded = "TYPE_CHECKING" in path.read_text(encoding="utf-8") and parts[0] == "PIL"
            assert parts[0] not in HEAVY or guarded, f"{path.name} imports {name}"
            assert "meta" not in parts and "export" not in parts, f"{path.name} imports {name}"


def test_every_name_that_is_handed_on_exists():
    for name in edgemeta.__all__:
        assert getattr(edgemeta, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'learner_of_everything'"):
        _ = edgemeta.learner_of_everything


def test_every_error_is_of_the_tree_and_a_builtin():
    from edgemeta import errors

    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception) and name.endswith("Error"):
            assert issubclass(kind, errors.EdgemetaError)
            builtins = [
                b for b in kind.__mro__ if b.__module__ == "builtins" and b not in (Exception, BaseException, object)
            ]
            assert builtins or kind in (errors.EdgemetaError, errors.JournalError), name


def test_one_top_level_name_is_packaged():
    setup = (ROOT.parent / "setup.py").read_text(encoding="utf-8")
    listed = ast.parse(setup)
    packages = next(
        ast.literal_eval(k.value)
        for n in ast.walk(listed)
        if isinstance(n, ast.Call)
        for k in n.keywords
        if k.arg == "packages"
    )
    assert all(p == "edgemeta" or p.startswith("edgemeta.") for p in packages)
    folders = {p.parent.relative_to(ROOT.parent).as_posix().replace("/", ".") for p in ROOT.rglob("__init__.py")}
    assert folders | {"edgemeta.export"} == set(packages)


def test_recipes_are_those_of_the_examples():
    done = subprocess.run(
        [sys.executable, str(ROOT.parent / "examples" / "make_recipes.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_python_m_export_works_in_a_checkout():
    done = subprocess.run([sys.executable, "-m", "export", "--help"], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0 and "SOURCE" in done.stdout
