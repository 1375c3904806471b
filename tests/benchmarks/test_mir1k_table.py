"""What the table of MIR-1K makes of files of scores."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COLUMNS = [
    f"{source}_{measure}"
    for source in ("vocals", "accompaniment")
    for measure in ("SDR", "NSDR", "SIR", "SAR")
]


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("mir1k_table")


def write_scores(folder, name, clips):
    """Scores that are all alike within a clip: its name, its samples, dB."""
    (folder / "scores").mkdir(exist_ok=True)
    with (folder / "scores" / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "samples", *COLUMNS])
        writer.writerows([clip, n, *[value] * 8] for clip, n, value in clips)


def test_clips_count_by_their_length_and_seeds_alike(made, tmp_path):
    write_scores(tmp_path, "unmix-0", [("Ani_1_01", 300, 8.0), ("x", 100, 4.0)])
    write_scores(tmp_path, "unmix-1", [("Ani_1_01", 300, 9.0), ("x", 100, 9.0)])
    write_scores(tmp_path, "mixture", [("Ani_1_01", 300, 0.0), ("x", 100, "nan")])
    record = {
        "cpu_hours": 0.5,
        "command": f"-m unmix.train with umx output={tmp_path}/u",
    }
    (tmp_path / "unmix-0").mkdir()
    (tmp_path / "unmix-0" / "done").write_text(json.dumps(record))
    text = made.write(tmp_path)
    (row,) = [line for line in text.splitlines() if line.startswith("| unmix")]
    mean = "8.00 (7.00 to 9.00)"
    cells = [mean, mean, mean, mean, "8.50 (8.00 to 9.00)", "2", "0.5"]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == cells
    (tmp_path / "unmix-0" / "done").write_text(json.dumps({**record, "resumed": True}))
    assert f"| {mean} | 8.50 (8.00 to 9.00) | 2 |  |" in made.write(tmp_path)
    assert "**2 clips, not the 825" in text
    assert "`python -m unmix.train with umx output=DIR/u`" in text
    assert text.index("the mixture itself") < text.index("| unmix")
    rows = list(csv.DictReader((tmp_path / "mir1k.csv").open(newline="")))
    assert [each["vocals_silent"] for each in rows] == ["1", "0", "0"]


def test_published_numbers_tell_whether_they_were_read(made, tmp_path):
    write_scores(tmp_path, "ideal_ratio", [("x", 100, 120.0)])
    text = made.write(tmp_path)
    assert "network (quoted) | 7.45 | 13.08 | 9.68 |" in text
    assert "(not read) | ? | ? | ? |" in text
    assert "| ideal ratio mask | inf |" in text


def test_rows_that_were_measured_elsewhere_stay_on_the_page(made, tmp_path):
    page = tmp_path / "page.md"
    for place, name, value in (("a", "unmix-0", 8.0), ("b", "unmix-1", 9.0)):
        (tmp_path / place).mkdir()
        write_scores(tmp_path / place, name, [("x", 100, value)])
        made.write(tmp_path / place)
        text = made.publish(tmp_path / place, page)
    assert "| 8.50 (8.00 to 9.00) |" in text
    write_scores(tmp_path / "b", "unmix-1", [("x", 100, 10.0)])
    made.write(tmp_path / "b")
    assert "| 9.00 (8.00 to 10.00) |" in made.publish(tmp_path / "b", page)
    assert page.read_text("utf-8").startswith("# MIR-1K")
