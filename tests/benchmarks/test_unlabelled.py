"""What the page of universal sound makes of trainings and scores."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def unlabelled(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("unlabelled")


def write_training(unlabelled, output, name, values, over=0.25, **cost):
    """A training that was measured: 1S, MSi, 2Si and 3Si on both tests."""
    run = output / "runs" / name
    run.mkdir(parents=True)
    record = {"cpu_hours": 0.05, "resumed": False, "command": f"-m x output={run}"}
    (run / "done").write_text(json.dumps({**record, **cost}))
    measured = {unlabelled.MSI: 1.0, unlabelled.ONE_SOURCE: 9.0}
    lines = [
        {"split": "train", "step": 75, unlabelled.MSI: 9.0},
        {"split": "validation", "step": 100, **measured},
    ]
    (run / "scalars.jsonl").write_text("\n".join(map(json.dumps, lines)))
    means = dict(zip(unlabelled.MEASURES, values, strict=True))
    summary = {key: {"mean": value} for key, value in means.items()}
    summary |= {"under": 0.5, "equal": 0.5 - over, "over": over}
    for test in unlabelled.TESTS:
        folder = output / "scores" / name / test
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(summary))


def test_the_page_says_what_labels_and_sparsity_change(unlabelled, tmp_path):
    write_training(unlabelled, tmp_path, "mixit-0", (9.0, 3.0, 3.5, 2.0))
    write_training(unlabelled, tmp_path, "sparse-0", (12.0, 2.0, 2.5, None), 0.125)
    write_training(unlabelled, tmp_path, "pit-0", (20.0, 5.0, 4.5, 5.5), resumed=True)
    text = unlabelled.write(tmp_path)
    cells = "9.0 | 3.0 | 3.5 | 2.0 | 50% | 25% | 25% | 1 | 100 | 3.0"
    assert text.count(f"| MixIT, no labels | {cells} |") == len(unlabelled.TESTS)
    assert "| 12.0 | 2.0 | 2.5 |  | 50% |" in text
    assert "| PIT, all labelled | 20.0 | 5.0 | 4.5 | 5.5 | 50% | 25% | 25% | 1" in text
    assert "of 6 dB MSi without labels is not reached: 3.0 dB (MixIT" in text
    assert "1.5 dB of PIT is reached: MixIT, no labels is 1.0 dB below" in text
    assert "PIT is behind" not in text
    assert "over-separation from 25% to 12%, 1S by +3.0 dB and MSi by -1.0 dB" in text
    assert "Not trained: 10 % labelled; 50 % labelled." in text
    assert "- mixit-0: `python -m x output=DIR/runs/mixit-0`\n" in text
    assert "- sparse-0: `output=DIR/runs/sparse-0`\n" in text
    assert (tmp_path / "unlabelled" / unlabelled.PICTURE).stat().st_size > 1000


def test_a_short_training_with_labels_is_named_as_such(unlabelled, tmp_path):
    write_training(unlabelled, tmp_path, "mixit-0", (9.0, 6.0, 6.5, 2.0))
    write_training(unlabelled, tmp_path, "pit-0", (20.0, 5.0, 6.0, 5.5))
    text = unlabelled.write(tmp_path)
    assert "without labels is reached: 6.0 dB" in text
    assert "MixIT, no labels is 0.5 dB above PIT." in text
    assert "PIT is behind" in text
    assert "a 1S of 20.0 dB against 9.0 dB." in text


def test_a_training_counts_once_both_tests_are_measured(unlabelled, tmp_path):
    write_training(unlabelled, tmp_path, "mixit-0", (9.0, 3.0, 3.5, 2.0))
    write_training(unlabelled, tmp_path, "mixit-1", (7.0, 1.0, 3.5, 2.0))
    assert "| 8.0 (7.0 to 9.0) | 2.0 (1.0 to 3.0) |" in unlabelled.write(tmp_path)
    (tmp_path / "scores" / "mixit-1" / "unheard" / "summary.json").unlink()
    assert unlabelled.measured(tmp_path) == {"mixit": ["mixit-0"]}


def test_held_out_classes_and_readers_are_not_linked(unlabelled, tmp_path):
    root = tmp_path / "root"
    names = [f"speech/{number}-1-0000.flac" for number in range(7)]
    names += ["spoken_digits/theo/1.wav", "spoken_digits/yweweler/2.wav"]
    names += ["recordings/song.ogg", "recordings/198-209-0000.ogg"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    unlabelled.link(root, tmp_path / "sounds")
    linked = {path.parent.name: [] for path in (tmp_path / "sounds").glob("*/*")}
    for path in sorted((tmp_path / "sounds").glob("*/*")):
        linked[path.parent.name].append(path.name)
    assert linked["speech_0"] == ["0-1-0000.flac", "5-1-0000.flac"]
    assert linked["digits"] == ["1.wav"]
    assert linked["recordings"] == ["song.ogg"]
    assert len(linked) == unlabelled.SPEECH_FOLDERS + 2
