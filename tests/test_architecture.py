"""The shape of the repository: its rooms, and which way imports run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAPERS = ("mixit", "unmix", "adversarial", "clustering")
PILLARS = [name for name in PAPERS if (REPOSITORY / name / "__init__.py").exists()]
TEN_FILES = {
    "README.md",
    "__init__.py",
    "config.py",
    "model.py",
    "loss.py",
    "data.py",
    "train.py",
    "separate.py",
    "evaluate.py",
    "convert.py",
}
LEVELS = (
    ("errors", "startup"),
    ("files",),
    ("config", "plots"),
    ("audio", "signal"),
    ("corpora", "synthetic"),
    ("records",),
    ("training",),
    ("layers", "separation", "weights"),
    ("evaluation",),
    ("experiment", "doctor"),
)
"""Rooms of ``common``; each imports from its own level and from those above it here."""
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "base", "core", "common"}
KERAS_3 = ("tf.keras.", "tensorflow.keras.")
MODULES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for room in ("common", *PILLARS)
    for path in (REPOSITORY / room).rglob("*.py")
)

PAGE = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "harmony_split").rglob("*.py")
)


def parse(module: str) -> ast.Module:
    return ast.parse((REPOSITORY / module).read_text(encoding="utf-8"), module)


def imported(tree: ast.Module) -> Iterator[str]:
    """Every dotted name that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(tree: ast.Module) -> Iterator[str]:
    """Every dotted attribute, as ``tf.signal.stft``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def public(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every public function, class and method below a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            if child.name.startswith("_"):
                continue
            yield inside + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{inside}{child.name}.")


def test_there_is_something_to_check():
    assert "mixit" in PILLARS
    assert "common/audio/files.py" in MODULES


@pytest.mark.parametrize("pillar", PILLARS)
def test_pillar_has_the_ten_files(pillar):
    present = {path.name for path in (REPOSITORY / pillar).iterdir()}
    folders = {"model.py": "models", "loss.py": "losses"}
    missing = {name for name in TEN_FILES - present if folders.get(name) not in present}
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_from_pillar_to_common(module):
    room = module.split("/", maxsplit=1)[0]
    banned = set(PAPERS) - {room}
    roots = {name.split(".", maxsplit=1)[0] for name in imported(parse(module))}
    assert not roots & banned
    assert not roots & {"tests", "benchmarks", "harmony_split"}


@pytest.mark.parametrize("module", PAGE)
def test_page_imports_pillars_by_their_names_alone(module):
    roots = {name.split(".", maxsplit=1)[0] for name in imported(parse(module))}
    assert not roots & {*PAPERS, "tests", "benchmarks", "tensorflow"}


@pytest.mark.parametrize("module", [*MODULES, *PAGE])
def test_file_is_named_for_what_it_holds(module):
    assert Path(module).stem not in NAMELESS


@pytest.mark.parametrize("module", MODULES)
def test_keras_is_tf_keras_and_tensorflow_1_lives_in_one_file(module):
    tree = parse(module)
    names = [*imported(tree), *attributes(tree)]
    banned = [n for n in imported(tree) if n.split(".", maxsplit=1)[0] == "keras"]
    banned += [n for n in names if f"{n}.".startswith(KERAS_3)]
    assert not banned, f"{banned}: write 'import tf_keras as keras'"
    if module != "common/weights/tf1.py":
        assert not [n for n in names if "compat.v1" in n]


@pytest.mark.parametrize("module", [*MODULES, *PAGE])
def test_everything_public_is_documented(module):
    tree = parse(module)
    assert ast.get_docstring(tree), "the module has no docstring"
    undocumented = [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert not undocumented


def test_rooms_of_common_import_from_below():
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    upward = [
        (module, name)
        for module in MODULES
        if module.startswith("common/") and module != "common/__init__.py"
        for name in imported(parse(module))
        if name.startswith("common.") and name.split(".")[1] in level
        if level[name.split(".")[1]] > level[module.split("/")[1].removesuffix(".py")]
    ]
    assert not upward
