"""Scores of songs laid out: by corpus and source, medians before means."""

import json
import math

from adversarial import results
from adversarial.scores import MEASURES

SOURCES = ("vocals", "accompaniment")


def row(song, database, vocals, silent=""):
    scores = {f"{name}_{m}": 1.0 for name in SOURCES for m in MEASURES}
    scores |= {f"vocals_{m}": vocals for m in MEASURES}
    about = {"Title": song, "Database": database, "Silent": silent}
    return {**about, "Bandwidth_Hz": 4096.0, "Seconds": 2.5, **scores}


ROWS = [
    row("a", "x", 1.0),
    row("b", "x", 2.0),
    row("c", "x", 6.0),
    row("d", "y", math.nan, "vocals, drums"),
    row("e", "y", 11.0),
]


def test_means_and_medians_are_over_songs_with_a_score():
    whole = results.summary(ROWS, SOURCES)
    assert list(whole) == ["x", "y", "all"]
    cells = {group: each["vocals"]["SDR"] for group, each in whole.items()}
    assert cells == {
        "x": {"mean": 3.0, "median": 2.0, "count": 3},
        "y": {"mean": 11.0, "median": 11.0, "count": 1},
        "all": {"mean": 5.0, "median": 4.0, "count": 4},
    }
    assert whole["all"]["accompaniment"]["SIR"]["count"] == 5
    assert list(results.summary(ROWS[:3], SOURCES)) == ["x"]
    nothing = {"mean": None, "median": None, "count": 0}
    assert results.summary(ROWS[3:4], SOURCES)["y"]["vocals"]["SDR"] == nothing


def test_the_table_has_medians_before_means():
    databases = results.summary(ROWS[:4], SOURCES)
    lines = results.table({"bandwidth_hz": 4096, "databases": databases}).splitlines()
    cells = ["x", "vocals", "3", "4.1 kHz", *["2.00 (3.00)"] * len(results.SHOWN)]
    assert lines[2] == f"| {' | '.join(cells)} |"
    cells = ["y", "vocals", "0", "4.1 kHz", *["none"] * len(results.SHOWN)]
    assert lines[4] == f"| {' | '.join(cells)} |"


def test_the_form_of_the_original_is_json():
    nested = results.nested(ROWS[3], SOURCES)
    assert json.loads(json.dumps(nested, allow_nan=False)) == nested
    assert nested["SDR"] == {"vocals": None, "accompaniment": 1.0}
    assert (nested["Title"], nested["Silent"]) == ("d", ["vocals", "drums"])
    assert results.nested(ROWS[0], SOURCES)["Silent"] == []
