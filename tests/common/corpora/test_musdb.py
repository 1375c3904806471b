"""MUSDB18 as wav and as stem files: splits, decoding and error messages."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import urllib.error
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from common import audio
from common.corpora import musdb
from common.corpora.track import CorpusError

FILES = ("mixture", *musdb.SOURCES)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))


def song(folder: Path, samples: int = 400, without: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(FILES):
        if name != without:
            wave = np.full((samples, 2), 0.1 * (index + 1))
            soundfile.write(folder / f"{name}.wav", wave, 44100, subtype="PCM_16")
    return folder


def stempeg_example() -> Path:
    """The excerpt that comes with the stempeg package (CC BY-NC-SA)."""
    spec = importlib.util.find_spec("stempeg")
    files = sorted(Path(spec.origin).parent.glob("data/*.stem.mp4")) if spec else []
    if not files:
        pytest.skip("needs the stem file of the package stempeg")
    return files[0]


def test_the_validation_tracks_are_held_out(tmp_path):
    names = [musdb.VALIDATION[3], "Somebody - Something", musdb.VALIDATION[10]]
    for name in names:
        song(tmp_path / "train" / name)
    song(tmp_path / "test" / "Last - One")
    assert len(musdb.VALIDATION) == len(set(musdb.VALIDATION)) == 14
    splits = {split: musdb.tracks(tmp_path, split) for split in musdb.SPLITS}
    assert [each.name for each in splits["train"]] == ["Somebody - Something"]
    assert [each.name for each in splits["valid"]] == sorted([names[0], names[2]])
    assert [each.name for each in splits["test"]] == ["Last - One"]
    (track,) = splits["train"]
    assert tuple(track.sources) == ("vocals", "drums", "bass", "other")
    assert (track.sample_rate, track.samples) == (44100, 400)
    assert track.mixture.name == "mixture.wav"


def test_other_songs_are_divided_reproducibly(tmp_path, caplog):
    for number in range(10):
        song(tmp_path / "musdb18hq" / "train" / f"A - {number}")
    train, valid = (musdb.tracks(tmp_path, split) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (9, 1)
    assert not {each.name for each in train} & {each.name for each in valid}
    assert valid == musdb.tracks(tmp_path, "valid")
    assert caplog.text.count("holds none of MUSDB18's validation tracks") == 1


def test_stems_are_decoded_once_by_one_process(tmp_path, monkeypatch):
    import ffmpeg

    stems = stempeg_example()
    (tmp_path / "train").mkdir()
    for name in ("A - A", musdb.VALIDATION[0]):
        (tmp_path / "train" / f"{name}{musdb.SUFFIXES[0]}").symlink_to(stems)
    runs = []
    real = ffmpeg._run.run_async
    monkeypatch.setattr(
        ffmpeg._run, "run_async", lambda *a, **k: runs.append(1) or real(*a, **k)
    )
    (track,) = musdb.tracks(tmp_path, "train")
    assert (track.name, track.samples, len(runs)) == ("A - A", 268288, 1)
    for source, stream in (("vocals", 4), ("drums", 1), ("bass", 2), ("other", 3)):
        expected, rate = audio.read(stems, 44100, 1000, stream=stream)
        actual, _ = audio.read(track.sources[source], 44100, 1000)
        assert rate == 44100
        np.testing.assert_allclose(actual, expected, atol=1.01 / 32768)
    expected, _ = audio.read(stems, 44100, 1000)
    np.testing.assert_allclose(
        audio.read(track.mixture, 44100, 1000)[0], expected, atol=1.01 / 32768
    )
    assert musdb.tracks(tmp_path, "train") == [track]
    assert len(runs) == 1


def test_validation_tracks_are_those_of_the_published_set():
    spec = Path(importlib.util.find_spec("musdb").origin).parent
    published = yaml.safe_load((spec / "configs" / "mus.yaml").read_text("utf-8"))
    assert sorted(musdb.VALIDATION) == sorted(published["validation_tracks"])


def test_stem_files_of_any_case_and_suffix_are_songs(tmp_path):
    for name in ("A.stem.mp4", "B.stem.m4a", "C.STEM.MP4", "._A.stem.mp4", "D.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "E").mkdir()
    assert list(musdb.songs(tmp_path)) == [*"ABCE"]
    assert musdb.songs(tmp_path, is_wav=True) == {"E": tmp_path / "E"}
    (tmp_path / "A.stem.m4a").touch()
    with pytest.raises(CorpusError, match="are both stems of one song"):
        musdb.songs(tmp_path)


def test_folders_of_equal_names_are_decoded_to_different_folders(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(musdb, "decode", lambda _, folder: made.append(folder))
    for root in ("one", "two"):
        stems = tmp_path / root / "test" / "A.stem.mp4"
        stems.parent.mkdir(parents=True)
        stems.touch()
        musdb._wav_folders([stems], stems.parent)
    assert len(set(made)) == 2


def test_stems_of_changed_content_are_decoded_again(tmp_path):
    stems, folder = tmp_path / "a.stem.mp4", tmp_path / "a"
    shutil.copy(stempeg_example(), stems)
    musdb.decode(stems, folder)
    note = folder / musdb.DECODED_FROM
    made = note.stat().st_ino
    later = note.stat().st_mtime + 99
    os.utime(stems, (later, later))
    musdb.decode(stems, folder)
    assert note.stat().st_ino == made
    note.write_text("another file")
    os.utime(stems, (1, 1))
    musdb.decode(stems, folder)
    assert note.read_text() != "another file"


def test_decoded_stems_of_release_0_1_0_are_checked_by_time(tmp_path):
    stems, folder = tmp_path / "a.stem.mp4", tmp_path / "a"
    stems.write_bytes(b"no stems")
    folder.mkdir()
    assert musdb.decode(stems, folder) == folder
    os.utime(folder, (1, 1))
    with pytest.raises(CorpusError, match="cannot be decoded"):
        musdb.decode(stems, folder)


def test_wav_files_are_preferred_to_stems_of_the_same_track(tmp_path):
    song(tmp_path / "test" / "A - A")
    (tmp_path / "test" / f"A - A{musdb.SUFFIXES[0]}").write_bytes(b"not read")
    assert musdb.tracks(tmp_path, "test")[0].samples == 400


def test_a_damaged_stem_file_leaves_nothing(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / f"A - A{musdb.SUFFIXES[0]}").write_bytes(
        b"nothing of the kind"
    )
    with pytest.raises(CorpusError, match="cannot be decoded into 5 stems"):
        musdb.tracks(tmp_path, "test")
    assert not list((tmp_path / "cache").rglob("*.wav"))


def test_stems_without_ffmpeg_raise_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.stem.mp4").touch()
    with pytest.raises(CorpusError, match=r"apt install ffmpeg.*MUSDB18-HQ"):
        musdb.decode(tmp_path / "a.stem.mp4", tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "split", "sentence"),
    [
        (lambda root: root.rmdir(), "train", "does not exist; pass the one that"),
        (lambda root: (root / "x").touch(), "train", "neither train nor test but x"),
        (lambda root: (root / "train").mkdir(), "train", "split 'train' is empty"),
        (lambda root: (root / "test").mkdir(), "train", "it should hold a folder a"),
        (lambda root: (root / "test").mkdir(), "eval", "no split 'eval'"),
        (lambda root: song(root / "train" / "A"), "train", "needs at least two"),
        (
            lambda root: song(root / "train" / musdb.VALIDATION[0]),
            "train",
            "nothing but validation tracks",
        ),
        (
            lambda root: song(root / "test" / "A", without="vocals"),
            "test",
            r"test/A lacks vocals.wav; it holds bass.wav, drums.wav",
        ),
    ],
)
def test_wrong_layouts_raise(tmp_path, make, split, sentence):
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    with pytest.raises(CorpusError, match=sentence):
        musdb.tracks(root, split)


def test_is_wav_ignores_stem_files(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / f"A{musdb.SUFFIXES[0]}").touch()
    with pytest.raises(CorpusError, match="should hold folders of wav files and holds"):
        musdb.tracks(tmp_path, "test", is_wav=True)


def preview_archive(folder):
    song(folder / "made" / "train" / "A")
    archive = folder / "preview.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (folder / "made").rglob("*.wav"):
            file.write(path, path.relative_to(folder / "made"))
    return archive


def test_the_preview_is_downloaded_once(tmp_path, monkeypatch):
    archive = preview_archive(tmp_path)
    monkeypatch.setenv("MUSDB_PREVIEW_URL", archive.as_uri())
    folder = musdb.preview()
    archive.unlink()
    assert musdb.preview() == folder
    assert (folder / "train" / "A" / "vocals.wav").is_file()
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_an_interrupted_preview_continues(tmp_path, monkeypatch):
    content = preview_archive(tmp_path).read_bytes()
    starts = []

    def serve(request, timeout):
        starts.append(int(request.headers.get("Range", "bytes=0-")[6:-1]))
        rest = content[starts[-1] :]
        answer = io.BytesIO(rest[:100] if len(starts) == 1 else rest)
        answer.status = 206
        answer.headers = {"Content-Length": str(len(rest))}
        if len(starts) == 2:
            raise urllib.error.URLError("no network")
        return answer

    monkeypatch.setattr("urllib.request.urlopen", serve)
    with pytest.raises(CorpusError, match="start again to go on"):
        musdb.preview()
    folder = musdb.preview()
    assert starts == [0, 100, 100]
    assert (folder / "train" / "A" / "vocals.wav").is_file()
    assert list((tmp_path / "cache").iterdir()) == [folder]


@pytest.mark.parametrize("content", [None, b"<html>not an archive</html>"])
def test_a_failing_preview_raises_and_leaves_nothing(tmp_path, monkeypatch, content):
    archive = tmp_path / "preview.zip"
    if content:
        archive.write_bytes(content)
    monkeypatch.setenv("MUSDB_PREVIEW_URL", archive.as_uri())
    with pytest.raises(CorpusError, match="needs the internet: name the folder"):
        musdb.preview()
    assert not list((tmp_path / "cache").iterdir())


def test_a_preview_without_songs_raises_and_leaves_nothing(tmp_path, monkeypatch):
    archive = tmp_path / "preview.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "moved")
    monkeypatch.setenv("MUSDB_PREVIEW_URL", archive.as_uri())
    with pytest.raises(CorpusError, match=r"neither train nor test but readme\.txt"):
        musdb.preview()
    assert not list((tmp_path / "cache").iterdir())
