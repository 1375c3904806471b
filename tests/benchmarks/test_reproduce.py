"""The tables of the papers: their rows, and how they are repeated."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from common import experiment
from common.evaluation import published

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
reproduce = importlib.import_module("reproduce")
sys.path.remove(str(REPOSITORY / "benchmarks"))
TABLES = reproduce.TABLES
ROWS = [(table, row) for table in TABLES for row in TABLES[table].rows]
NO = "not comparable"
ROW_NAMES = "trained", "published"
SUMMARY = {"examples": 1000, "1S": {"mean": 35.25}, "MSi": {"mean": 9.0}}


class Steps:
    """Notes the steps, fails some, and writes what an evaluation would."""

    def __init__(self, fails=()):
        self.seen, self.fails = [], fails

    def __call__(self, step, log):
        self.seen.append(step.log)
        if step.module.endswith(".evaluate"):
            folder = Path(step.words[step.words.index("--output") + 1])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "summary.json").write_text(json.dumps(SUMMARY))
        return int(step.log in self.fails)


def repeat(output, steps, *words):
    command = ["fuss_baseline", "--tiny", "--output", str(output), *words]
    return reproduce.main(command, steps)


def cells(output):
    lines = (output / "fuss_baseline.md").read_text().splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    rows = [row for row in rows if len(row) == 8 and row[0] in ROW_NAMES]
    return {(row[0], row[2]): row for row in rows}


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_rows_name_presets_keys_and_published_numbers(table, name):
    chosen = TABLES[table]
    row = chosen.rows[name]
    numbers = published.read(REPOSITORY / chosen.pillar)
    rows_of_table = {each.row for each in numbers if each.table == chosen.numbers}
    assert {*row.published} <= rows_of_table
    assert bool(row.preset) != bool(row.restore)
    vocabulary = importlib.import_module(f"{chosen.pillar}.job").SCRIPT.vocabulary
    roots = [Path("one"), Path("two")]
    for tiny in (False, True):
        task = reproduce.Task(table, chosen, roots, Path("out"), tiny)
        words = reproduce.training(task, row, "run") if row.preset else ["with"]
        experiment.parse(vocabulary, words[1:])


def test_a_finished_step_is_not_repeated(tmp_path):
    first = Steps(fails=["evaluate"])
    assert repeat(tmp_path, first) == 1
    assert first.seen == ["train", "separate", "evaluate", "separate", "evaluate"]
    assert {row[3] for row in cells(tmp_path).values()} == {"not run"}
    second, third = Steps(), Steps()
    assert repeat(tmp_path, second) == 0
    assert second.seen == ["evaluate", "evaluate"]
    assert repeat(tmp_path, third) == 0
    assert third.seen == []


def test_results_of_another_command_are_refused(tmp_path, capsys):
    assert repeat(tmp_path, Steps(), "--rows", "trained") == 0
    assert repeat(tmp_path, Steps(), "--rows", "trained", "--limit", "1") == 1
    assert "holds results of another command" in capsys.readouterr().err


def test_measured_numbers_stand_beside_published_ones(tmp_path, monkeypatch):
    assert repeat(tmp_path, Steps()) == 0
    actual = cells(tmp_path)
    assert actual["trained", "1S"][3:7] == ["35.25 dB", "35.5 dB", "0.5 dB", NO]
    text = (tmp_path / "fuss_baseline.md").read_text()
    assert "Synthetic sounds: these numbers say nothing" in text
    assert "weights `mini`, instead of `fuss_baseline`" in text
    for word in ("hours", "commit", "tensorflow", "`python -m mixit.train with"):
        assert word in text
    # As if the corpus were recorded.
    monkeypatch.setattr(reproduce.miniature, "MARKER", "nothing.json")
    assert repeat(tmp_path, Steps()) == 0
    within = {key: row[6] for key, row in cells(tmp_path).items()}
    assert within["trained", "1S"] == "yes"
    assert within["published", "1S"] == "no"
    assert within["trained", "MSi"] == "no"


def test_unread_numbers_have_no_value(tmp_path):
    words = ["mixit", "--tiny", "--output", str(tmp_path)]
    assert reproduce.main(words, Steps()) == 0
    lines = (tmp_path / "mixit.md").read_text().splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert "unread" in {row[4] for row in rows if len(row) == 8}
    assert not [row for row in rows if len(row) == 8 and row[4].endswith("dB")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mixit"], "the corpus fuss is not named; give its folder by --root"),
        (["mixit", "--rows", "x", "--tiny"], "mixit has no row 'x'; expected some of"),
    ],
)
def test_bad_arguments_are_reported_in_one_sentence(words, sentence, tmp_path, capsys):
    assert reproduce.main([*words, "--output", str(tmp_path)], Steps()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_measures_of_speech_are_those_of_the_package():
    names = importlib.import_module("clustering.published").NAMES
    assert names == reproduce.SPEECH_MEASURES


def test_the_script_lists_all_tables():
    text = (REPOSITORY / "run_table.sh").read_text()
    (named,) = re.findall(r"^tables=\((.+)\)$", text, re.MULTILINE)
    assert named.split() == [*TABLES, "mir1k"]
    for name in named.split():
        assert f"./run_table.sh {name} " in text


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_repeated_on_the_miniature(name, tmp_path):
    def start(step, log):
        return importlib.import_module(step.module).main(step.words)

    words = [name, "--tiny", "--output", str(tmp_path)]
    assert reproduce.main(words, start) == 0
    text = (tmp_path / f"{name}.md").read_text()
    assert "Synthetic sounds" in text
    assert "not run" not in text
    for row in TABLES[name].rows:
        assert list((tmp_path / "rows" / row / "separated").rglob("*.wav"))
        summary = tmp_path / "rows" / row / "evaluation" / "summary.json"
        assert json.loads(summary.read_text())


@pytest.mark.slow
def test_a_row_is_repeated_in_processes_of_its_own(tmp_path):
    words = ["fuss_baseline", "--tiny", "--rows", "published"]
    assert reproduce.main([*words, "--output", str(tmp_path)]) == 0
    log = (tmp_path / "logs" / "published-evaluate.log").read_text()
    assert "results:" in log
