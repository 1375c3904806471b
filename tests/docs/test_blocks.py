"""The code in README files and pages: Python runs, commands are parsed.

A comment before a block marks what is expensive: ``<!-- run: slow -->`` runs the block
in the slow tests alone, also where it holds commands.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

import adversarial
import clustering
import mixit
import unmix
from common import audio, experiment
from common.synthetic import miniature

REPOSITORY = Path(__file__).resolve().parents[2]
PILLARS = {each.__name__: each for each in (mixit, unmix, adversarial, clustering)}
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("README.md", "CONTRIBUTING.md", "[!.]*/README.md", "docs/**/*.md")
    for path in REPOSITORY.glob(pattern)
    if "build" not in path.parts
)
SHELL = ("", "bash")
SLOW = "run: slow"
PROGRAMS = {
    *("arecord", "curl", "export", "ffmpeg", "ffplay", "git", "python3", "srun"),
    "tensorboard",
}
"""Commands that are not ours, and are not checked."""
PASSED_ON = {"./run_train_model_on_fuss.sh": "mixit.train"}
"""Scripts that hand their words to a command."""
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<language>[^\n`]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    mark: str


class Parsed(BaseException):
    """Ends a command after it has read its command line."""


def blocks(page: str) -> list[Block]:
    text = (REPOSITORY / page).read_text("utf-8")
    return [
        Block(match["language"].strip(), match["text"], match["mark"] or "")
        for match in FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[list[str]]:
    """Split shell text into simple commands, without redirections and comments."""
    text = re.sub(r"(^|\s)#.*$", r"\1", text, flags=re.MULTILINE)
    lexer = shlex.shlex(
        text.replace("\\\n", " "), posix=True, punctuation_chars="|;&<>\n"
    )
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    redirected = False
    for word in lexer:
        if set(word) <= set("|;&\n"):
            if words:
                yield words
            words = []
        elif set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            words.append(word)
    if words:
        yield words


def program(words: list[str]) -> list[str]:
    """Leave out the variables that stand before a command."""
    first = next((i for i, w in enumerate(words) if not re.match(r"[A-Z_]+=", w)), None)
    return [] if first is None else words[first:]


@functools.cache
def setup_py() -> dict[str, Any]:
    tree = ast.parse((REPOSITORY / "setup.py").read_text("utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return {
        node.targets[0].id: ast.literal_eval(node.value)  # type: ignore[attr-defined]
        for node in assigned
        if isinstance(node.value, ast.List | ast.Dict)
    }


def entry(module: str) -> Callable[[list[str]], int]:
    """Return the function that ``python -m MODULE`` calls."""
    match = importlib.util.find_spec(module)
    assert match, f"there is no module {module}"
    name = module if match.submodule_search_locations is None else f"{module}.__main__"
    return importlib.import_module(name).main


@pytest.fixture
def parse(monkeypatch, capsys):
    """Check the command line of a module, without running it."""

    def stop(parser: Any, *arguments: Any, **options: Any) -> Any:
        plain(parser, *arguments, **options)
        raise Parsed

    def stop_intermixed(parser: Any, *arguments: Any, **options: Any) -> Any:
        _, unknown = intermixed(parser, *arguments, **options)
        if unknown:
            parser.error(f"unrecognized arguments: {unknown}")
        raise Parsed

    def configure(command: Any, arguments: Any = None) -> int:
        experiment.configure(command, experiment.parse(command, arguments))
        raise Parsed

    plain = argparse.ArgumentParser.parse_args
    intermixed = argparse.ArgumentParser.parse_known_intermixed_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(
        argparse.ArgumentParser, "parse_known_intermixed_args", stop_intermixed
    )
    monkeypatch.setattr(experiment, "run", configure)

    def parse(module: str, arguments: list[str]) -> None:
        line = f"{module} {shlex.join(arguments)}"
        try:
            code = entry(module)(arguments)
        except Parsed:
            return
        except SystemExit as end:
            code = end.code
        if code not in (0, None):
            pytest.fail(f"{line}: code {code}, {capsys.readouterr().err}")

    return parse


@pytest.fixture
def check(parse):
    """Check one simple command."""
    entries = dict(line.split(" = ") for line in setup_py()["COMMANDS"])

    def check(words: list[str]) -> None:
        first, *rest = program(words) or ["export"]
        if first == "python" and rest[0] == "-m":
            if rest[1].isidentifier() and rest[1] in ("venv", "http"):
                return
            parse(rest[1], rest[2:])
        elif first == "python":
            assert (REPOSITORY / rest[0]).exists(), rest[0]
        elif first in entries:
            parse(entries[first].partition(":")[0], rest)
        elif first in ("source", "bash"):
            assert (REPOSITORY / rest[0]).exists(), rest[0]
        elif first.startswith("./"):
            assert (REPOSITORY / first).exists(), first
            if first in PASSED_ON and rest and rest[0] != "--hosts":
                parse(PASSED_ON[first], ["with", "fuss", *rest])
        elif Path(first).name == "pip":
            check_pip(rest)
        else:
            assert first in PROGRAMS, f"{first} is no command of ours"

    return check


def check_pip(words: list[str]) -> None:
    extras = re.findall(r"\[(.+?)\]", " ".join(words))
    named = {name for each in extras for name in each.split(",")}
    assert named <= {*setup_py()["EXTRAS"], "and-cuda"}
    if "-c" in words:
        assert (REPOSITORY / words[words.index("-c") + 1]).exists()


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_those_of_the_programs(page, check):
    texts = [block.text for block in blocks(page) if block.language in SHELL]
    for text in texts:
        for words in commands(text):
            check(words)


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_those_of_the_programs(page, check):
    text = FENCE.sub("", (REPOSITORY / page).read_text("utf-8"))
    for code in re.findall(r"`(python -m [a-z][^`]+)`", text):
        if "..." not in code:
            for words in commands(" ".join(code.split())):
                # A name of a command alone need not have what the command requires.
                check(words) if len(words) > 3 else entry(words[2])


def test_shell_blocks_have_the_syntax_of_bash():
    texts = [b.text for page in PAGES for b in blocks(page) if b.language in SHELL]
    done = subprocess.run(
        ["bash", "-n"],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_data_in_blocks_can_be_read(page):
    for block in blocks(page):
        if block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "json":
            json.loads(block.text)
        else:
            languages = (*SHELL, "python", "text")
            assert block.language in languages or block.language.startswith("{")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    text = (REPOSITORY / page).read_text("utf-8")
    rooms = {path.name for path in REPOSITORY.iterdir() if path.is_dir()} - {"build"}
    for code in re.findall(r"`([^`\s]+)`", FENCE.sub("", text)):
        path, _, test = code.partition("::")
        if path.split("/")[0] in rooms and re.search(r"/.+\.(py|sh|md|txt|yml)$", path):
            if any(sign in path for sign in "*{}") or path.isupper():
                continue
            assert (REPOSITORY / path).exists() or re.search("[A-Z]{4}", path), code
        if test:
            assert f"def {test}(" in (REPOSITORY / path).read_text("utf-8"), code
        if re.fullmatch(r"\./[\w.]+\.sh", code):
            assert (REPOSITORY / code).exists(), code


@functools.cache
def bundled(pillar: str, *arguments: Any, **options: Any) -> Any:
    """Load the bundled model of a pillar once for all pages."""
    return LOAD[pillar]("mini", *arguments, **options)


LOAD = {name: pillar.load for name, pillar in PILLARS.items()}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder with the sounds that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, [2, 16000])
    for name in ("song.mp3", "song.wav", "mix.wav", "talk.wav"):
        form = "mp3" if name.endswith("mp3") else "wav"
        audio.write(folder / name, noise.astype(np.float32), 16000, format=form)
    rows = "split,song,source,path\ntrain,First song,vocals,song.wav\n"
    (folder / "songs.csv").write_text(rows, "utf-8")
    options = ["--sample-rate", "8000"]
    assert miniature.main(["mix_folders", str(folder / "sounds"), *options]) == 0
    return folder


@pytest.fixture
def page_folder(sounds, tmp_path, monkeypatch):
    """Work in a folder with these sounds, and with the bundled models alone."""
    for path in sounds.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    for name, pillar in PILLARS.items():

        def load(path: str, *arguments: Any, pillar: str = name, **options: Any) -> Any:
            if Path(path).exists():
                return LOAD[pillar](path, *arguments, **options)
            return bundled(pillar, *arguments, **options)

        monkeypatch.setattr(pillar, "load", load)
    return tmp_path


def run(page: str, slow: bool) -> None:
    """Run the Python blocks of a page one after another, as one program."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, [2, 8000]).astype(np.float32)
    names: dict[str, Any] = {"mixture": noise, "song": noise}
    for block in blocks(page):
        if block.language == "python":
            file = re.match(r"# (\w+)\.py\n", block.text)
            if file:
                sys.modules.pop(file[1], None)
                Path(f"{file[1]}.py").write_text(block.text, "utf-8")
            elif slow or block.mark != SLOW:
                exec(compile(block.text, page, "exec"), names)
        elif slow and block.mark == SLOW:
            for words in commands(block.text):
                assert words[:2] == ["python", "-m"]
                assert entry(words[2])(words[3:]) == 0


def in_python(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


@pytest.mark.parametrize("page", [page for page in PAGES if in_python(page)])
def test_python_runs(page, page_folder):
    run(page, slow=False)


MARKED = [page for page in PAGES if any(b.mark == SLOW for b in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", MARKED)
def test_what_is_marked_runs_too(page, page_folder):
    run(page, slow=True)


@pytest.mark.parametrize("page", PAGES)
def test_marks_are_known(page):
    assert {block.mark for block in blocks(page)} <= {"", SLOW}


WRONG = (
    "python -m unmix.separate song.mp3 --modell mini",
    "python -m unmix.train with umxhq no_such_key=3",
    "python -m unmix.no_such_module",
    "./no_such_script.sh",
    "no_such_program",
    "pip install '.[no_such_extra]'",
    "python benchmarks/no_such_file.py",
)


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_fails(line, check):
    (words,) = commands(line)
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)):
        check(words)
