"""The shared command line of evaluation."""

import threading

import pytest

from common.evaluation import command


def options(argv, **keywords):
    seen = []
    parser = command.parser("demo.evaluate", "Demo.", **keywords)
    code = command.command(parser, lambda given: seen.append(given) or 0, argv)
    return code, *seen


def test_options_have_the_names_of_every_pillar(tmp_path):
    argv = "runs/mine --root corpus --split valid --limit 3 --jobs 2 --output out"
    code, given = options(argv.split())
    assert code == 0
    assert (given.model, given.data, given.split) == ("runs/mine", "corpus", "valid")
    assert (given.limit, given.jobs, given.output) == (3, 2, "out")


def test_the_names_of_splits_are_those_of_each_pillar():
    splits = {"valid": "validation", "test": "eval", "eval": "eval"}
    assert options([], splits=splits)[1].split == "eval"
    assert options(["--split", "eval"], splits=splits)[1].split == "eval"
    assert options(["--split", "valid"], splits=splits)[1].split == "validation"
    with pytest.raises(SystemExit):
        options(["--split", "train"], splits=splits)


def test_aliases_are_further_flags():
    assert options(["-cp", "x"], aliases={"model": ["-cp"]})[1].model == "x"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["a", "--model", "b"], "two models are named, b and a; give one"),
        (["--limit", "0"], "--limit is 0; expected at least 1"),
        (["--jobs", "-1"], "--jobs is -1; expected at least 1"),
    ],
)
def test_bad_options_are_reported_in_one_sentence(argv, sentence, capsys):
    assert options(argv) == (1,)
    assert capsys.readouterr().err == f"demo.evaluate: {sentence}\n"


def test_a_model_may_be_named_twice_by_one_name():
    assert options(["a", "--model", "a"])[1].model == "a"


def test_jobs_run_at_once():
    barrier = threading.Barrier(2, timeout=10)
    assert sorted(command.each(lambda item: barrier.wait() * 0 + item, [1, 2], 2)) == [
        1,
        2,
    ]


def test_an_error_of_one_item_ends_the_evaluation():
    with pytest.raises(ZeroDivisionError):
        list(command.each(lambda item: 1 / item, [1, 0, 1], 2))


def test_results_are_in_the_run_folder_by_default(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    given = options([str(tmp_path)])[1]
    assert command.results_folder(given, tmp_path) == tmp_path / "evaluation"
    given = options([str(tmp_path), "--split", "valid", "--checkpoint", "latest"])[1]
    folder = command.results_folder(given, tmp_path)
    assert folder == tmp_path / "evaluation-valid-latest"
    assert command.results_folder(options(["mini"])[1], None).as_posix() == (
        "evaluation/mini"
    )
    weights = tmp_path / "foreign" / "vocals.pth"
    given = options([str(weights)])[1]
    assert command.results_folder(given, weights) == weights.parent / "evaluation"
    monkeypatch.setenv("HOME", str(tmp_path))
    given = options(["mini", "--output", "~/there"])[1]
    assert command.results_folder(given, None) == tmp_path / "there"
