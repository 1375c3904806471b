"""Tables of the documentation against the code that they are about."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from common.corpora.catalogue import CORPORA
from common.weights.registry import entries

REPOSITORY = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def rows(text: str, head: str) -> list[list[str]]:
    """Cells of the table whose first cell of the head is given."""
    table = text.partition(f"| {head} |")[2].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table]


def test_corpora_are_those_of_the_catalogue():
    table = rows(page("docs/corpora.md"), "name")
    assert [row[0].strip("` ") for row in table] == list(CORPORA)
    for row in table:
        assert len(row) == 4
        assert all(row)


@pytest.mark.parametrize("corpus", [name for name in CORPORA if name != "wsj0_3mix"])
def test_layouts_of_corpora_have_the_words_of_their_readers(corpus):
    """Names in small letters, of folders and files, stand in the module."""
    layout = next(r[2] for r in rows(page("docs/corpora.md"), "name") if corpus in r[0])
    source = page(f"common/corpora/{MODULES.get(corpus, corpus)}.py")
    words = set(re.findall(r"(?<![A-Z.])\b[a-z_0-9]{3,}\b", layout))
    assert words
    assert not {word for word in words if word not in source}


MODULES = {
    "scaper": "scaper_output",
    "wsj0_2mix": "speaker_mixtures",
    "wham": "speaker_mixtures",
}


def test_models_are_those_of_the_registry():
    tables = runpy.run_path(str(REPOSITORY / "docs/tables.py"))
    assert len(tables["models"]().splitlines()) == 2 + len(entries())
    for path in tables["PAGES"]:
        text = path.read_text("utf-8")
        assert "<!-- table: models -->" in text
        assert tables["filled"](text) == text, "run: python docs/tables.py"


def test_what_is_promised_is_tested():
    table = page("docs/reliability.md").partition("## What is not promised")[0]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table)
    assert len(named) > 20
    for path, test in named:
        functions = {
            node.name
            for node in ast.walk(ast.parse(page(path)))
            if isinstance(node, ast.FunctionDef)
        }
        assert test in functions, f"{path}::{test}"


def test_slow_promises_are_marked():
    text = page("docs/reliability.md")
    for path, test, mark in re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`( \(slow\))?", text
    ):
        source = page(path)
        decorated = source.partition(f"def {test}(")[0].rpartition("\n\n")[2]
        is_slow = "mark.slow" in decorated or "pytestmark = pytest.mark.slow" in source
        assert bool(mark) == is_slow, test
