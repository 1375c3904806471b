"""Tables of scores, and their plot."""

import json
import math

import pytest

from common.plots import PlotError
from unmix.config import TINY, UMX, UMXHQ, UMXL
from unmix.scoring import tables

HERE = {"SDR": 6.0, "SIR": 12.0, "SAR": 6.5, "ISR": None, "tracks": 50}
SUMMARY = {
    "model": "umx",
    "row": "umx",
    "subset": "test",
    "tracks": 50,
    "seconds": 240.0,
    "synthetic": False,
    "targets": {"vocals": HERE},
}


def song(*values):
    """Scores of a song in museval's form, one frame for each value."""
    metrics = [dict.fromkeys(tables.METRICS, value) for value in values]
    frames = [{"metrics": each} for each in metrics]
    return {"targets": [{"name": "vocals", "frames": frames}]}


def test_medians_leave_out_seconds_and_songs_without_scores(tmp_path):
    path = tmp_path / "a.json"
    nan = math.nan
    read = {}
    for name, values in {
        "a": (1.0, nan, 2.0, 6.0),
        "b": (nan,),
        "c": (4.0, 5.0),
    }.items():
        path.write_text(json.dumps(song(*values)))
        read[name] = tables.read_scores(path)
    assert read["a"]["vocals"]["SDR"] == 2.0
    rows = tables.rows_of(read)
    assert tables.summarise(rows)["vocals"]["SDR"] == 3.25
    assert tables.summarise(rows)["vocals"]["tracks"] == 2
    tables.write_csv(rows, tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text("utf-8").splitlines()
    assert lines[1:3] == ["a,vocals,2.0,2.0,2.0,2.0", "b,vocals,,,,"]
    exact = tables.rows_of({"a": {"vocals": dict.fromkeys(tables.METRICS, 1 / 3)}})
    assert tables.summarise(exact)["vocals"]["SDR"] == 0.33333, "digits of museval"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json holds no scores of museval"):
        tables.read_scores(path)


def test_published_and_ours():
    text = tables.published_table([SUMMARY])
    assert "| `umx` | vocals | 6.32 | 6.00 | 13.33 | 12.00 |" in text
    assert "| `umx` | drums | 5.73 | not run here |" in text
    assert "| `umxl` | bass | 6.02 | not run here | not published | not" in text
    assert tables.published_table().count("not run here") == 80


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"synthetic": True}, "Synthetic sounds"),
        ({"tracks": 49}, "the median over 49 songs of test"),
        ({"seconds": 7.0}, "7 s long in the median"),
        ({"subset": "train"}, "songs of train"),
    ],
)
def test_rows_without_a_counterpart_are_listed_separately(change, words):
    summary = {**SUMMARY, **change}
    text = tables.published_table([summary])
    published, apart = text.split("`umx`:")
    assert "6.00" not in published
    assert words in apart


def test_summary_table():
    lines = tables.summary_table(SUMMARY).splitlines()
    assert lines[0].endswith("the 50 whole songs of the test set; here the same.")
    assert lines[4] == (
        "| vocals | 6.00 | 6.32 | 12.00 | 13.33 | 6.50 | 6.52 | none | 11.93 | 50 |"
    )
    spoken = HERE | {"STOI": 0.87654, "STOI_mixture": None}
    lines = tables.summary_table(
        {**SUMMARY, "targets": {"vocals": spoken}}
    ).splitlines()
    assert lines[4].endswith("| none | 11.93 | 0.877 |  | 50 |")
    bare = tables.summary_table({**SUMMARY, "row": None})
    assert "published |" not in bare
    assert "There is no published number for this model." in bare


def test_rows_of_runs():
    assert [tables.row_of(each) for each in (UMX, UMXHQ, UMXL, TINY)] == [
        "umx",
        "umxhq",
        None,
        None,
    ]


def test_no_summary(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"is not a summary\.json of an evaluation"):
        tables.read_summary(path)


def test_plot():
    tracks = {
        name: {"vocals": dict.fromkeys(tables.METRICS, value)}
        for name, value in {"a": 1.0, "b": 2.0, "c": math.nan}.items()
    }
    rows = tables.rows_of(tracks)
    figure = tables.plot_scores(rows, "a $model", {"vocals": {"SDR": 1.5}})
    points = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert sorted(points[0].get_ydata()) == [1.0, 2.0]
    assert max(abs(points[0].get_xdata() - 1.0)) < 0.5, "beside its box"
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert list(marks[0].get_ydata()) == [1.5]
    assert list(marks[0].get_xdata()) == [1.0]
    assert not [line for line in figure.axes[1].lines if line.get_marker() == "D"]
    with pytest.raises(PlotError, match="no scores to plot"):
        tables.plot_scores([], "nothing")
