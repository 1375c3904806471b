"""Rows that survive a kill, in their order, whole and with their types."""

import pytest

from common.evaluation.table import Rows, read

COLUMNS = ("song", "title", "SDR", "frames", "active")


def row(song, **cells):
    return {
        "song": song,
        "title": "7",
        "SDR": 1.25,
        "frames": 3,
        "active": True,
    } | cells


def table(folder, key="model"):
    return Rows(folder / "scores.csv", COLUMNS, key, texts=2)


def test_a_finished_table_has_the_order_that_is_asked_for(tmp_path):
    rows = table(tmp_path)
    for song in "cab":
        rows[song] = row(song, title=f"{song}, live")
    rows.finish(["a", "b", "c"])
    assert [each.name for each in tmp_path.iterdir()] == ["scores.csv"]
    actual = read((tmp_path / "scores.csv").read_text().splitlines(), texts=2)
    assert actual == [row(song, title=f"{song}, live") for song in "abc"]


def test_whole_rows_are_resumed_with_their_types(tmp_path):
    rows = table(tmp_path)
    rows["a"] = row("a")
    rows["b"] = row("b", SDR=float("-inf"), frames=-4, active=False)
    with rows.part.open("a") as file:
        # This could pass for a whole row, were it not for the end of the line.
        file.write("c,7,1.25,3,True")
    again = table(tmp_path)
    assert dict(again) == dict(rows)
    again["c"] = row("c")
    assert list(table(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("broken", ["c,7,1.2\n", "c,7,loud,3,True\n"])
def test_damaged_rows_are_computed_again(tmp_path, broken):
    rows = table(tmp_path)
    rows["a"] = row("a")
    with rows.part.open("a") as file:
        file.write(broken)
    assert list(table(tmp_path)) == ["a"]


def test_another_key_begins_again_and_keeps_the_rows_of_the_first(tmp_path):
    table(tmp_path)["a"] = row("a")
    assert not table(tmp_path, "another model")
    assert list(table(tmp_path)) == ["a"]


def test_a_finished_table_removes_partial_tables_of_other_models(tmp_path):
    table(tmp_path, "a model that was trained on since")["a"] = row("a")
    (tmp_path / ".scores.notes.part").touch()
    rows = table(tmp_path)
    rows["a"] = row("a")
    rows.finish(["a"])
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == [".scores.notes.part", "scores.csv"]
