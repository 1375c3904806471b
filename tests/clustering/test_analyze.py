"""The table over runs."""

import csv
import json
from dataclasses import replace

import pytest

from clustering import analyze
from clustering.presets import TINY
from common.config import save
from common.files import write_json


def write_run(folder, config=TINY, losses=(), scores=None):
    """A run folder with what the table reads, and Sacred's record inside."""
    (folder / "sacred" / "1").mkdir(parents=True)
    save(replace(config, output=str(folder)), folder / "config.json")
    write_json({"x": 1}, folder / "sacred" / "1" / "config.json")
    lines = [{"split": "train", "step": 7, "loss": 0.01}]
    lines += [
        {"split": "validation", "step": 100 * number, "loss": loss}
        for number, loss in enumerate(losses, 1)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "scalars.jsonl").write_text(text + '{"broken')
    if scores:
        means = {
            name: {"si_sdr": each, "si_sdr_improvement": each + 1, "count": 3}
            for name, each in scores.items()
        }
        (folder / "evaluation").mkdir()
        write_json(means, folder / "evaluation" / "summary.json")


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in two keys, of which one is not evaluated."""
    folder = tmp_path / "runs"
    scores = {"all": 8.123456789, "s1": 9.0, "s2": 7.0}
    write_run(folder / "a", losses=[0.5, 0.25, 0.75], scores=scores)
    other = replace(TINY, lr=2e-4, cluster=replace(TINY.cluster, beta=1.0))
    write_run(folder / "deep" / "b", other)
    return folder


def test_row_has_what_differs_the_steps_the_best_loss_and_the_scores(runs, capsys):
    assert analyze.main([str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    columns = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert columns == [
        *("run", "cluster.beta", "lr", "steps", "validation loss"),
        *("SI-SDR", "SI-SDRi", "s1 SI-SDR", "s2 SI-SDR"),
    ]
    first, second = (
        dict(zip(columns, map(str.strip, line.strip("|").split("|")), strict=True))
        for line in lines[2:4]
    )
    assert first["run"] == "a"
    assert (first["lr"], first["steps"], first["validation loss"]) == (
        "0.001",
        "300",
        "0.25",
    )
    assert (first["SI-SDR"], first["SI-SDRi"]) == ("8.12", "9.12")
    assert (first["s1 SI-SDR"], first["s2 SI-SDR"]) == ("9.00", "7.00")
    assert second["run"] == "deep/b"
    assert (second["cluster.beta"], second["steps"]) == ("1.00", "7")
    assert second["SI-SDR"] == "not evaluated"
    assert lines[-1].startswith("Not evaluated: deep/b (")


def test_csv_holds_all_digits(runs, tmp_path):
    file = tmp_path / "new" / "table.csv"
    assert analyze.main([str(runs / "a"), str(runs / "deep"), "--csv", str(file)]) == 0
    first, second = csv.DictReader(file.read_text().splitlines())
    assert (first["run"], second["run"]) == ("a", "b")
    assert (first["SI-SDR"], first["SI-SDRi"]) == ("8.123456789", "9.123456789")
    assert first["validation loss"] == "0.25"
    assert (first["lr"], second["lr"]) == ("0.001", "0.0002")
    assert second["s1 SI-SDR"] == ""


def test_confidences_have_columns_of_their_own(runs, capsys):
    file = runs / "a" / "evaluation" / "summary.json"
    means = json.loads(file.read_text())
    means["confidence"] = {"posterior": 0.25, "posterior_correlation": 0.7}
    write_json(means, file)
    assert analyze.main([str(runs / "a")]) == 0
    header, _, row, *_ = capsys.readouterr().out.splitlines()
    assert header.endswith("| s1 SI-SDR | s2 SI-SDR | posterior confidence |")
    assert row.endswith("| 9.00 | 7.00 | 0.25 |")


def test_runs_of_one_name_are_distinguished(runs, capsys):
    write_run(runs / "other" / "b")
    paths = [str(runs / "deep" / "b"), str(runs / "other" / "b")]
    assert analyze.main(paths) == 0
    table = capsys.readouterr().out
    assert "| b |" in table
    assert f"| {runs / 'other' / 'b'} |" in table


def test_bad_input_is_reported_in_one_sentence(runs, tmp_path, capsys):
    assert analyze.main([str(tmp_path / "gone")]) == 1
    assert "holds no run" in capsys.readouterr().err
    (runs / "a" / "evaluation" / "summary.json").write_text("{")
    assert analyze.main([str(runs)]) == 1
    assert "summary.json cannot be read" in capsys.readouterr().err
