"""What the page of unseen speakers makes of trainings and scores."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GENDERS = ";ID  |SEX| SUBSET\n1   | F | train |\n2 | M | train | 3.0 | A|B\n3 | F |\n"


@pytest.fixture
def speakers(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("speakers")


def write_scores(folder, name, pairs):
    """Scores of mixtures: the improvement of both speakers, by the two speakers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text("{}")
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "si_sdr_improvement"])
        for number, ((one, other), values) in enumerate(pairs.items()):
            mixture = f"{number:05}_{one}_0.00_{other}_1.00"
            writer.writerows([f"{mixture}/s{i}", v] for i, v in enumerate(values, 1))


def write_training(output, name, speakers, losses, **cost):
    """A training that has ended: its cost, its losses, the list of its speakers."""
    run = output / "runs" / name
    run.mkdir(parents=True)
    record = {"cpu_hours": 0.1, "resumed": False, "command": f"-m x output={run}"}
    (run / "done").write_text(json.dumps({**record, **cost}))
    records = [
        {"split": split, "step": 500, "epoch": 1, "loss": loss}
        for split, loss in losses.items()
    ]
    lines = [json.dumps(each) for each in (*records, {"split": "train", "step": 9})]
    (run / "scalars.jsonl").write_text("\n".join(lines))
    (output / "lists").mkdir(exist_ok=True)
    names = [*(f"train/{each}/a.wav" for each in speakers), "valid/9/b.wav"]
    count = name.split("-")[1]
    (output / "lists" / f"{count}.txt").write_text("\n".join(names))


@pytest.fixture
def output(tmp_path):
    few, many = "deep_clustering-3-0", "deep_clustering-12-0"
    write_training(tmp_path, few, "123", {"train": 0.2, "valid": 0.25})
    write_training(tmp_path, many, "124", {"train": 0.2, "valid": 0.21}, resumed=True)
    scores = tmp_path / "scores"
    write_scores(scores / few, "scores", {("1", "2"): (1.0, 2.0), ("1", "3"): (-2, -1)})
    write_scores(scores / few, "ideal_ratio", {("1", "2"): (12.0, 13.0)})
    write_scores(scores / many, "scores", {("1", "2"): (8.0, 9.0), ("1", "3"): (8, 10)})
    (tmp_path / "genders.txt").write_text(GENDERS)
    return tmp_path


def test_the_page_has_gains_by_gender_and_growth(speakers, output):
    text = speakers.write(output, output / "genders.txt")
    name = speakers.NETWORKS["deep_clustering"].about
    cells = "0.00 | -1.50 | 1.50 | 50% | 1 | 500 | 6.0"
    assert f"| {name} | 3 (2 female) | {cells} |" in text
    # What the part of a training before an interruption took is not known.
    assert f"| {name} | 12 (1 female) | 8.75 | 9.00 | 8.50 | 0% | 1 | 500 |  |" in text
    assert "| ideal ratio mask | | 12.50 |  | 12.50 | 0% |" in text
    assert "+8.75 dB from 3 to 12 speakers" in text
    assert "Validation minus training loss at the end: +0.050, +0.010." in text
    assert f"Not trained: {name} on 50, 201 speakers." in text
    assert "8 dB for unseen speakers is reached: the best row" in text
    assert "- deep_clustering-3-0: `python -m x output=DIR/runs/deep_clus" in text
    assert (output / "speakers" / speakers.PICTURE).stat().st_size > 1000


def test_a_training_without_scores_is_not_on_the_page(speakers, output):
    for name in ("deep_clustering-3-0", "deep_clustering-12-0"):
        (output / "scores" / name / "summary.json").unlink()
    assert "No training has been measured yet." in speakers.write(output, None)


def test_seeds_are_averaged_and_groups_need_genders(speakers, output):
    name = "deep_clustering-3-1"
    write_training(output, name, "123", {"train": 0.2, "valid": 0.2})
    write_scores(output / "scores" / name, "scores", {("1", "2"): (2.0, 4.0)})
    text = speakers.write(output, None)
    assert "| 3 | 1.50 (0.00 to 3.00) |  |  | 25% | 2 | 500 | 6.0 |" in text


def test_splits_have_their_own_speakers(speakers):
    files = [Path(f"{number}-1-0.flac") for number in range(251)]
    splits = speakers.split(files)
    assert [len(splits[part]) for part in ("train", "valid", "test")] == [201, 25, 25]
    assert not set(splits["train"]) & {*splits["valid"], *splits["test"]}
    assert list(splits["test"])[:2] == ["9", "19"]
    with pytest.raises(SystemExit, match="12 speakers; expected"):
        speakers.split(files[:12])
