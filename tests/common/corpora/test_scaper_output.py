"""Scaper: both layouts, moved corpora, labels and groups."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile

from common.corpora import scaper_output, waveforms
from common.corpora.track import CorpusError

LABELS = ("dog", "car", "dog")


def sound(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(80, level / 64), 8000)


def write_jams(folder, name, labels, scaper, roles=None, paths=()):
    data = [
        {"time": 0.0, "value": {"label": label, "role": role}, "confidence": 1.0}
        for label, role in zip(labels, roles or ["foreground"] * 9, strict=False)
    ]
    for event, path in zip(data, paths, strict=False):
        event["value"]["audio_path"] = path
    annotation = {"namespace": "scaper", "data": data, "sandbox": {"scaper": scaper}}
    other = {"namespace": "beat", "data": []}
    content = {"annotations": [other, annotation], "file_metadata": {}, "sandbox": {}}
    (folder / f"{name}.jams").write_text(json.dumps(content))


def new(folder, name, labels=LABELS, home="/gone/from/here"):
    sound(folder / f"{name}.wav", 7)
    paths = []
    for number, label in enumerate(labels):
        file = f"foreground{number}_{label}.wav"
        sound(folder / f"{name}_events" / file, 2**number)
        paths.append(f"{home}/{name}_events/{file}")
    scaper = {
        "soundscape_audio_path": f"{home}/{name}.wav",
        "isolated_events_audio_path": paths,
    }
    write_jams(folder, name, labels, scaper)


def old(folder, name, labels=LABELS):
    sound(folder / f"{name}.wav", 7)
    for number, _ in enumerate(labels):
        sound(folder / f"{name}_sources" / "foreground" / f"{number}.wav", 2**number)
    roles = ["background", *["foreground"] * len(labels)]
    write_jams(folder, name, ["hum", *labels], {}, roles)


def levels(track):
    return {
        name: 64 * float(waveforms.read(each, 0)[0][0, 0])
        for name, each in track.sources.items()
    }


@pytest.mark.parametrize("write", [new, old])
def test_events_of_both_layouts_are_named_by_label(tmp_path, write):
    (tmp_path / "train").mkdir()
    write(tmp_path / "train", "00000001")
    write(tmp_path / "train", "00000000")
    first, second = scaper_output.tracks(tmp_path, "train")
    assert (first.name, second.name) == ("00000000", "00000001")
    assert levels(first) == {"dog::0": 1, "car::0": 2, "dog::1": 4}
    assert first.mixture == tmp_path / "train" / "00000000.wav"


def test_events_of_the_fork_may_name_their_files(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    old(folder, "a", ["vocals", "drums"])
    roles = ["foreground", "background", "foreground"]
    labels, paths = ["vocals", "hum", "drums"], ["foreground/1", None, "foreground/0"]
    write_jams(folder, "a", labels, {}, roles, paths)
    (track,) = scaper_output.tracks(tmp_path, "train")
    assert levels(track) == {"vocals::0": 2, "drums::0": 1}
    write_jams(folder, "a", labels, {}, roles, ["foreground/1"])
    with pytest.raises(CorpusError, match=r"events drums of .*a_sources have no audio"):
        scaper_output.tracks(tmp_path, "train")


def test_sounds_of_the_fork_are_cut_to_the_shortest(tmp_path, caplog):
    (tmp_path / "train").mkdir()
    old(tmp_path / "train", "a")
    soundfile.write(tmp_path / "train/a.wav", np.full(8000, 0.1), 8000)
    (track,) = scaper_output.tracks(tmp_path, "train")
    assert track.samples == 80
    assert "cut" in caplog.text


def test_paths_of_windows_are_found_by_name(tmp_path):
    folder = tmp_path / "test"
    folder.mkdir()
    new(folder, "a", home="C:\\sets\\made")
    (track,) = scaper_output.tracks(tmp_path, "test")
    assert levels(track)["dog::1"] == 4


def test_recorded_paths_that_exist_are_used(tmp_path):
    folder = tmp_path / "test"
    folder.mkdir()
    new(folder, "a", home=str(folder))
    (folder / "a_events").rename(tmp_path / "moved")
    text = (folder / "a.jams").read_text()
    (folder / "a.jams").write_text(
        text.replace(f"{folder}/a_events", f"{tmp_path}/moved")
    )
    (track,) = scaper_output.tracks(tmp_path, "test")
    assert track.sources["car::0"].parent == tmp_path / "moved"


def test_a_copied_corpus_does_not_read_events_of_its_original(tmp_path):
    folder = tmp_path / "original" / "test"
    folder.mkdir(parents=True)
    new(folder, "a", home=str(folder))
    copied = shutil.copytree(folder.parent, tmp_path / "copy")
    sound(folder / "a_events" / "foreground1_car.wav", 32)
    (track,) = scaper_output.tracks(copied, "test")
    assert levels(track)["car::0"] == 2


def test_more_than_ten_events_keep_their_order(tmp_path):
    (tmp_path / "train").mkdir()
    labels = [f"l{number}" for number in range(12)]
    old(tmp_path / "train", "a", labels)
    (track,) = scaper_output.tracks(tmp_path, "train")
    files = [each.name for each in track.sources.values()]
    assert files == [f"{number}.wav" for number in range(12)]


def test_a_corpus_without_splits_is_divided(tmp_path):
    for number in range(5):
        new(tmp_path, f"{number:08d}")
    parts = [
        {each.name for each in scaper_output.tracks(tmp_path, split)}
        for split in ("train", "valid", "test")
    ]
    assert [len(part) for part in parts] == [3, 1, 1]


def test_a_missing_event_is_counted(tmp_path, caplog):
    (tmp_path / "train").mkdir()
    for name in "abc":
        new(tmp_path / "train", name)
    (tmp_path / "train/b_events/foreground1_car.wav").unlink()
    with pytest.raises(
        CorpusError, match=r"1 of 3 .*first: .*b_events/foreground1_car"
    ):
        scaper_output.tracks(tmp_path, "train")
    assert len(scaper_output.tracks(tmp_path, "train", skip=True)) == 2
    assert "1 of 3" in caplog.text


def test_events_that_are_not_padded_raise(tmp_path):
    (tmp_path / "train").mkdir()
    new(tmp_path / "train", "a")
    soundfile.write(tmp_path / "train/a.wav", np.full(8000, 0.1), 8000)
    with pytest.raises(CorpusError, match=r"a\.wav lasts 1\.00 s .* it 0\.01 s;"):
        scaper_output.tracks(tmp_path, "train")


def no_events(folder):
    write_jams(folder, "x", ["a"], {"isolated_events_audio_path": []})


def too_few(folder):
    old(folder, "x")
    (folder / "x_sources/foreground/1.wav").unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda at: None, r"should hold soundscapes.*holds nothing"),
        (no_events, r"x.jams names no isolated events.*save_isolated_events=True"),
        (too_few, r"x.jams describes 3 events and has 2 isolated files"),
        (lambda at: (at / "x.jams").write_text("{"), "x.jams holds no annotation"),
        (lambda at: (at / "x.jams").write_text("[1]"), "x.jams holds no annotation"),
    ],
)
def test_wrong_soundscapes_raise(tmp_path, spoil, sentence):
    (tmp_path / "train").mkdir()
    spoil(tmp_path / "train")
    with pytest.raises(CorpusError, match=sentence):
        scaper_output.tracks(tmp_path, "train")
