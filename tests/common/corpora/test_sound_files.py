"""Files of corpora: system files are ignored, names are no patterns."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest
import soundfile

from common.corpora import (
    ccmixter,
    dsd100,
    fuss,
    mir1k,
    mix_folders,
    moisesdb,
    musdb,
    recordings,
    remixpacks600,
    scaper_output,
    slakh,
    song_folders,
    sound_files,
    source_folders,
    speaker_mixtures,
    template,
    track_folders,
    waveforms,
)
from common.corpora.track import CorpusError, Options
from common.synthetic import miniature

TINY = {"seconds": 0.05}
WRITTEN = {
    "fuss": {**TINY, "train": 2, "validation": 1, "eval": 1},
    "musdb": {**TINY, "train": 3, "test": 2},
    "wsj0_2mix": {"train": 2, "validation": 1, "test": 1},
    "wham": {"train": 2, "validation": 1, "test": 1},
    "mir1k": {**TINY, "train": 4, "test": 2},
    "slakh": {**TINY, "train": 2, "validation": 1, "test": 1},
    "remixpacks600": {**TINY, "train": 3, "test": 1},
    "scaper": {**TINY, "train": 2, "valid": 1, "test": 1},
    "mix_folders": {**TINY, "train": 2, "valid": 1, "test": 1},
    "moisesdb": {**TINY, "songs": 4},
    "dsd100": {**TINY, "train": 2, "test": 2},
    "ccmixter": {**TINY, "songs": 4},
}
READERS = {
    "moisesdb": moisesdb.tracks,
    "fuss": fuss.tracks,
    "musdb": musdb.tracks,
    "wsj0_2mix": speaker_mixtures.tracks,
    "wham": partial(speaker_mixtures.tracks, task="mix_both", noise=True),
    "mir1k": mir1k.tracks,
    "slakh": slakh.tracks,
    "remixpacks600": remixpacks600.tracks,
    "scaper": scaper_output.tracks,
    "mix_folders": mix_folders.tracks,
    "dsd100": dsd100.tracks,
    "ccmixter": ccmixter.tracks,
    "song_folders": song_folders.tracks,
    "source_folders": partial(source_folders.tracks, sources=("vocals", "drums")),
    "unaligned": partial(source_folders.unaligned, sources=("vocals", "drums")),
    "aligned": partial(
        track_folders.aligned, input_file="mix*.wav", output_file="vocals.wav"
    ),
    "fixed": partial(
        track_folders.fixed, target_file="vocals.wav", interferer_files=("drums.wav",)
    ),
    "variable": partial(track_folders.variable, target_file="vocals.wav"),
    "template": lambda root, split: template.tracks(root, split, Options()),
}
OF_FOLDERS = {
    "song_folders": "{split}/{n}/{source}.wav",
    "aligned": "{split}/{n}/{source}.wav",
    "fixed": "{split}/{n}/{source}.wav",
    "variable": "{split}/{n}/{source}.wav",
    "source_folders": "{split}/{source}/deep/{n}.wav",
    "unaligned": "{source}/{n}.wav",
    "template": "{split}/{n}_{source}.wav",
}
JUNK = (
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    ".hidden.wav",
    "._x.jams",
    "._A.stem.mp4",
)


def write_folders(folder, pattern):
    for number in range(3):
        for split in ("train", "valid"):
            for source in ("vocals", "drums", "mixture"):
                path = folder / pattern.format(split=split, n=number, source=source)
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.full(80, 0.25), 8000)
    return folder


@pytest.fixture(scope="module", params=READERS)
def corpus(request, tmp_path_factory):
    """Return a layout and a folder in it without system files."""
    layout = request.param
    folder = tmp_path_factory.mktemp("clean") / layout
    if layout in OF_FOLDERS:
        return layout, write_folders(folder, OF_FOLDERS[layout])
    return layout, miniature.WRITERS[layout](folder, **WRITTEN[layout])


def read_all(layout, root):
    """Return all tracks of a corpus, with paths of their files below the root."""

    def below(sound):
        return [file.relative_to(root) for file in waveforms.files(sound)]

    tracks_by_name = {}
    for split in ("train", "valid", "validation", "test", "eval"):
        try:
            tracks = READERS[layout](root, split)
        except CorpusError as error:
            if "no split" in str(error) or "does not exist" in str(error):
                continue
            raise
        for track in tracks:
            sources = {name: below(sound) for name, sound in track.sources.items()}
            mixture = below(track.mixture) if track.mixture is not None else None
            tracks_by_name[split, track.name] = (track.samples, sources, mixture)
    assert tracks_by_name
    return tracks_by_name


def add_junk(root):
    """Write system files of macOS, Windows and network storage into every folder."""
    every = [root, *(each for each in root.rglob("*") if each.is_dir())]
    for folder in every:
        names = [each.name for each in folder.iterdir()]
        for name in JUNK:
            (folder / name).write_bytes(b"junk")
        for name in ("@eaDir", ".@__thumb", ".hidden", "__MACOSX"):
            (folder / name).mkdir()
            (folder / name / "a_vocals.wav").write_bytes(b"junk")
            (folder / name / "metadata.yaml").write_bytes(b"junk")
        for name in names:
            (folder / f"._{name}").write_bytes(b"junk")
            (folder / "@eaDir" / name).write_bytes(b"junk")


def test_system_files_are_in_no_corpus(corpus, tmp_path):
    layout, clean = corpus
    with_junk = shutil.copytree(clean, tmp_path / "with junk")
    add_junk(with_junk)
    assert read_all(layout, with_junk) == read_all(layout, clean)


def test_suffixes_in_capitals_are_accepted(corpus, tmp_path):
    layout, clean = corpus
    in_capitals = shutil.copytree(clean, tmp_path / "in capitals")
    for file in [each for each in in_capitals.rglob("*.wav") if each.is_file()]:
        file.rename(file.with_suffix(".WAV"))
    if layout == "fuss":
        for file in in_capitals.glob("*_list.txt"):
            file.write_text(file.read_text().replace(".wav", ".WAV"))
    if layout == "aligned":
        for file in in_capitals.rglob("mixture.WAV"):
            file.rename(file.with_suffix(".wav"))
    actual, expected = read_all(layout, in_capitals), read_all(layout, clean)
    assert len(actual) == len(expected)
    assert [each[0] for each in actual.values()] == [e[0] for e in expected.values()]


def test_system_files_are_no_recordings(tmp_path):
    write_folders(tmp_path, "{split}/{source}{n}.wav")
    add_junk(tmp_path)
    kinds = recordings.find_kinds([tmp_path])
    assert len(kinds[str(tmp_path)]) == 18


@pytest.mark.parametrize("name", ["vocals [dry].wav", "what?.wav", "a*b.wav"])
def test_names_are_not_patterns(tmp_path, name):
    for split in ("train", "valid"):
        folder = tmp_path / split / "song [live]"
        folder.mkdir(parents=True)
        for each in (name, "other.wav", "axb.wav"):
            soundfile.write(folder / each, np.zeros(80), 8000)
    sound = tmp_path / "train" / "song [live]" / name
    (fixed,) = track_folders.fixed(tmp_path, "train", name, ["other.wav"])
    (variable,) = track_folders.variable(tmp_path, "train", name)
    (aligned,) = track_folders.aligned(tmp_path, "train", "other.wav", name)
    sounds = [
        next(iter(track.sources.values())) for track in (fixed, variable, aligned)
    ]
    assert sounds == [sound] * 3
    with pytest.raises(CorpusError, match=r"lacks \*file.wav"):
        track_folders.fixed(tmp_path, "train", name, ["*file.wav"])


@pytest.mark.parametrize("name", ["", " ", "/data/vocals.wav", "../vocals.wav"])
def test_wrong_names_raise(tmp_path, name):
    write_folders(tmp_path, OF_FOLDERS["fixed"])
    calls = {
        "target_file": lambda: track_folders.variable(tmp_path, "train", name),
        "interferer_files": lambda: track_folders.fixed(
            tmp_path, "train", "vocals.wav", [name]
        ),
        "input_file": lambda: track_folders.aligned(tmp_path, "train", name, "a.wav"),
        "output_file": lambda: track_folders.aligned(
            tmp_path, "train", "mixture.wav", name
        ),
        "folder of sources": lambda: source_folders.tracks(tmp_path, "train", [name]),
    }
    for key, call in calls.items():
        with pytest.raises(CorpusError, match=f"{key}=.*expected a name"):
            call()


def test_lists_may_have_backslashes_and_home_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    root = miniature.write_fuss(tmp_path / "fuss", **WRITTEN["fuss"])
    expected = read_all("fuss", root)
    for file in root.glob("*_list.txt"):
        text = file.read_text()
        fields = [line.split("\t") for line in text.splitlines()]
        for line in fields:
            line[1] = f"~/fuss/{line[1]}"
            line[0], line[2:] = (
                line[0].replace("/", "\\"),
                [each.replace("/", "\\") for each in line[2:]],
            )
        file.write_text("".join("\t".join(line) + "\n" for line in fields))
    assert read_all("fuss", root) == expected
    assert fuss.find_root("~/fuss") == root


def test_an_existing_name_with_a_backslash_is_literal(tmp_path):
    (tmp_path / "a\\b.wav").touch()
    assert sound_files.listed("a\\b.wav", tmp_path) == tmp_path / "a\\b.wav"
    (tmp_path / "~").mkdir()
    assert sound_files.listed("~", tmp_path) == tmp_path / "~"
    assert (
        sound_files.listed("~no_such_user/a.wav", tmp_path)
        == tmp_path / "~no_such_user/a.wav"
    )
