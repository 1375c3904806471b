"""Clip lists: headers, bad rows, names, and what is no list."""

from __future__ import annotations

import pytest

from common.corpora.track import CorpusError
from mixit.yfcc.clip_list import Clip, Row, clip_name, names, read

GOOD = "data/videos/mp4/827/f6b/827f6b.mp4,1.5,11.5,0.0\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="clips.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "header", "lines", "remark"),
    [
        ("path,start,end,offset\n" + GOOD, "auto", [2], "line 1 is a header: path,"),
        (GOOD, "auto", [1], "no header, line 1 is the first clip"),
        ("\ufeff\r\n\r\na,b,c,d\r\n" + GOOD, "auto", [4], "line 3 is a header: a,b,"),
        ("# clips of 2020\n" + GOOD, "auto", [2], "line 1 is a header: # clips"),
        (GOOD + GOOD.replace("1.5,", "2.5,"), "yes", [2], "line 1 is a header: data/"),
        (GOOD, "no", [1], "no header"),
    ],
)
def test_a_header_is_found_and_reported(write, text, header, lines, remark):
    actual = read([write(text)], 1, seconds=10, header=header)
    assert [row.line for row in actual.rows] == lines
    assert actual.skipped == []
    assert len(actual.remarks) == 1
    assert remark in actual.remarks[0]


def test_a_header_declared_absent_is_a_bad_row(write):
    actual = read([write("path,start,end,offset\n" + GOOD)], 1, seconds=10, header="no")
    assert [(skip.line, skip.reason) for skip in actual.skipped] == [(1, "bad row")]
    assert [row.line for row in actual.rows] == [2]


def test_rows_hold_their_numbers_and_quoted_paths(write):
    actual = read([write('"a, b.mp4" , 0.25,3,1e0\n')], 1, seconds=10)
    assert actual.rows == [Row("clips.csv", 1, (Clip("a, b.mp4", 0.25, 3.0, 1.0),))]


def test_rows_of_two_clips(write):
    actual = read([write("a.mp4,0,4,6,b.mp4,1,2,0\n")], 2, seconds=10)
    assert actual.rows[0].clips == (Clip("a.mp4", 0, 4, 6), Clip("b.mp4", 1, 2, 0))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.mp4,0,10", "3 columns, expected 4"),
        ("a.mp4,0,10,0,b.mp4,0,10,0", "8 columns, expected 4; --moms"),
        ("a.mp4,x,10,0", "start in s is 'x', expected a number from 0"),
        ("a.mp4,0,,0", "end in s is '', expected"),
        ("a.mp4,0,nan,0", "end in s is 'nan'"),
        ("a.mp4,0,inf,0", "end in s is 'inf'"),
        ("a.mp4,-1,9,0", "start in s is '-1'"),
        ("a.mp4,0,9,-0.5", "offset in s is '-0.5'"),
        ("a.mp4,5,5,0", "start 5 s is not before end 5 s"),
        ("a.mp4,5,3,0", "start 5 s is not before end 3 s"),
        ("a.mp4,0,10.02,0", "10.02 s at offset 0 s end at 10.02 s, after the 10 s"),
        ("a.mp4,0,4,6.5", "4 s at offset 6.5 s end at 10.5 s, after the 10 s"),
        (",0,4,0", "video path is ''"),
        ("../a.mp4,0,4,0", "video path is '../a.mp4'"),
        ('"a\tb.mp4",0,4,0', "video path is 'a\\tb.mp4'"),
    ],
)
def test_bad_rows_are_passed_over_or_refused(write, row, problem):
    path = write(GOOD + row + "\n")
    actual = read([path], 1, seconds=10)
    (skip,) = actual.skipped
    assert skip[:4] == ("clips.csv", 2, row.split(",")[0].strip('"'), "bad row")
    assert problem in skip.detail
    assert len(actual.rows) == 1
    with pytest.raises(CorpusError) as error:
        read([path], 1, seconds=10, strict=True)
    assert f"{path} line 2: {skip.detail}." == str(error.value)


@pytest.mark.parametrize("times", ["0,10.009,0", "0.004,4.013,6", "3,6.3333,6.6667"])
def test_times_may_be_rounded(write, times):
    assert len(read([write(f"a.mp4,{times}\n")], 1, seconds=10).rows) == 1


def test_repeated_rows_are_made_once(write):
    more = write("a.mp4,0,1,0\n" + GOOD, "more.csv")
    actual = read([write(GOOD), more], 1, seconds=10)
    assert [(row.table, row.line) for row in actual.rows] == [
        ("clips.csv", 1),
        ("more.csv", 1),
    ]
    assert actual.skipped[0][:2] == ("more.csv", 2)
    assert actual.skipped[0][3:] == ("repeated", "line 1 of clips.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no clip: it is empty; expected the columns video path, start in s"),
        ("\n\n", "it is empty"),
        ("path,start,end,offset\n", "its first row is 'path,start,end,offset'; expect"),
        ("x;0;10;0\ny;0;10;0\n", r"its first row is 'x;0;10;0' \(line 2: 1 columns"),
        ("a,1,0,0\n", r"first row is 'a,1,0,0' \(line 1: start 1 s is not before end"),
        (b"\x00\x01\x02a,b\n", "is no CSV file.*(it holds bytes of 0|contains NUL)"),
        (b"\x89PNG\r\n\xff\xfe", "is no CSV file in UTF-8"),
    ],
)
def test_what_is_no_list_is_refused(write, text, message):
    with pytest.raises(CorpusError, match=message):
        read([write(text)], 1, seconds=10)


def test_missing_lists_and_folders_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.csv does not exist"):
        read([tmp_path / "none.csv"], 1, seconds=10)
    with pytest.raises(CorpusError, match="is a folder; give a clip list"):
        read([tmp_path], 1, seconds=10)


def test_names_say_video_and_time_and_differ():
    clips = [
        Clip("x/ab.mp4", 1.0, 2.0, 0.0),
        Clip("x/ab.mp4", 1.0, 3.0, 0.0),
        Clip("y/ab.mp4", 1.0004, 2.0, 0.0),
        Clip("x/ab.mp4", 1.25, 2.0, 0.0),
        Clip("x/ab_1000-2.mp4", 0.0, 2.0, 0.0),
    ]
    rows = [Row("a.csv", line, (clip,)) for line, clip in enumerate(clips, 1)]
    given = names(rows)
    assert given[:2] == ["ab_1000", "ab_1000-2"]
    assert given[2:] == ["ab_1000-3", "ab_1250", "ab_1000-2_0"]
    pair = Row("m.csv", 1, (clips[0], clips[3]))
    assert names([pair]) == ["ab_1000+ab_1250"]


def test_long_names_are_cut_and_still_differ():
    one = clip_name(Clip("é" * 120 + "1.mp4", 0.0, 1.0, 0.0))
    two = clip_name(Clip("é" * 120 + "2.mp4", 0.0, 1.0, 0.0))
    assert one != two
    assert len(one.encode()) < 90
    assert one.startswith("é" * 30)


def test_digest_is_that_of_the_clips(write):
    plain = read([write(GOOD)], 1, seconds=10).digest()
    moved = read([write("p,s,e,o\n" + GOOD, "b.csv")], 1, seconds=10).digest()
    other = read([write(GOOD.replace("1.5", "1.6"))], 1, seconds=10).digest()
    assert plain == moved != other


def test_names_hold_the_nearest_millisecond():
    # 1000 times 4.035 is a little below 4035, and 2.0006 s are nearer to 2001 ms.
    assert clip_name(Clip("x/y.mp4", 4.035, 9, 0)) == "y_4035"
    assert clip_name(Clip("x/y.mp4", 2.0006, 9, 0)) == "y_2001"


def test_rows_that_repeat_are_no_bad_rows(write):
    actual = read([write(GOOD + GOOD)], 1, seconds=10, strict=True)
    assert len(actual.rows) == 1
    assert [skip.reason for skip in actual.skipped] == ["repeated"]
