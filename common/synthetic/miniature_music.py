"""Miniatures of songs in the layouts of MIR-1K, RemixPacks600 and Scaper."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import yaml

from common import audio
from common.corpora import writing
from common.synthetic import scenes, sounds, voices
from common.synthetic.building import draws, layout, write_sum

SINGERS = {
    "train": {"abjones": 0, "amy": 1},
    "test": {"bobon": 8, "annar": 9, "leon": 10, "titon": 11},
}
"""Numbers of the speakers that sing, by the names that MIR-1K gives to its singers."""
CLIPS = 2
KINDS = {"vocals": "wav16", "drums": "flac", "bass": "flac", "other": "wav16"}
GONE = "/made/elsewhere"
"""Where the soundscapes say that they lie, as those of another machine do."""


@layout("mir1k")
def write_mir1k(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    train: int = 6,
    test: int = 4,
) -> None:
    """Write karaoke in the layout of MIR-1K: accompaniment left, voice right.

    Args:
        folder: Folder to make, with ``MIR-1K/{Wavfile,UndividedWavfile}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every clip; a song has two.
        train: Number of songs of the two training singers.
        test: Number of songs of the four others.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "test": test}
    samples = round(seconds * sample_rate)
    for split, index, rng in draws([seed, 8], counts):
        singers = list(SINGERS[split].items())
        name, person = singers[index % len(singers)]
        song = _karaoke(person, CLIPS * samples, sample_rate, rng)
        title = f"{name}_{index // len(singers) + 1}"
        whole = folder / "MIR-1K" / "UndividedWavfile" / f"{title}.wav"
        writing.write_wav(whole, song, sample_rate)
        for clip, part in enumerate(np.split(song, CLIPS, axis=1), 1):
            file = folder / "MIR-1K" / "Wavfile" / f"{title}_{clip:02d}.wav"
            writing.write_wav(file, part, sample_rate)


@layout("remixpacks600")
def write_remixpacks600(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    train: int = 4,
    test: int = 2,
) -> None:
    """Write stereo songs of four stems, wav and flac, in the layout of RemixPacks600.

    Args:
        folder: Folder to make, with ``organized_{train,test}/<song>/<stem>.*``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every song.
        train: Number of training songs.
        test: Number of test songs.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "test": test}
    for split, index, rng in draws([seed, 9], counts):
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        place = folder / f"organized_{split}" / f"Song {index + 1:02d}"
        place.mkdir(parents=True)
        for name, wave in stems.items():
            kind = KINDS[name]
            file = place / f"{name}{audio.FORMATS[kind].suffix}"
            audio.write(file, wave, sample_rate, kind)


@layout("scaper")
def write_scaper(  # noqa: PLR0913 (each is one number of the set)
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    train: int = 8,
    valid: int = 2,
    test: int = 2,
    version: float = 1.3,
) -> None:
    """Write soundscapes of four stems as Scaper does, with isolated events.

    Args:
        folder: Folder to make, with ``{train,valid,test}/<8 digits>.{wav,jams}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every soundscape.
        train: Number of training soundscapes.
        valid: Number of validation soundscapes.
        test: Number of test soundscapes.
        version: From 1.3 on ``<name>_events/foreground0_vocals.wav``, whose absolute
            paths in the jams lead nowhere; before, as the fork of nussl's authors,
            ``<name>_sources/foreground/0.wav``.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "valid": valid, "test": test}
    for split, index, rng in draws([seed, 10], counts):
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        mono = {name: wave.mean(axis=0) for name, wave in stems.items()}
        place = folder / split / f"{index:08d}"
        write_soundscape(place, mono, sample_rate, version)


def write_soundscape(
    place: Path,
    events: Mapping[str, np.ndarray],
    sample_rate: int,
    version: float = 1.3,
) -> None:
    """Write one soundscape with its annotation and its isolated events.

    Args:
        place: Path of the soundscape without a suffix.
        events: Sound of each event by its label, all of one length, [samples].
        sample_rate: In Hz.
        version: See :func:`write_scaper`.
    """
    files = _event_files(place.name, list(events), version)
    named = dict(zip(files, events.values(), strict=True))
    mixture = f"{place.name}.wav"
    write_sum(place.parent, "{}", mixture, named, sample_rate)
    samples = len(next(iter(events.values())))
    content = _jams(list(events), samples / sample_rate)
    if version >= 1.3:
        content["annotations"][0]["sandbox"]["scaper"] = {
            "soundscape_audio_path": f"{GONE}/{mixture}",
            "isolated_events_audio_path": [f"{GONE}/{file}" for file in files],
        }
    jams = place.with_name(f"{place.name}.jams")
    jams.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _karaoke(
    person: int, samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Accompaniment and voice, int16 [2, samples]."""
    stems = scenes.song(samples, sample_rate, rng)
    band = sum(stems[name].mean(axis=0) for name in ("drums", "bass", "other"))
    voice = voices.voice(samples, sample_rate, rng, scenes.speaker(person))
    level = scenes.LEVEL_DB + rng.uniform(*scenes.SNR_DB)
    parts = [scenes.at_level(band, scenes.LEVEL_DB), scenes.at_level(voice, level)]
    return writing.quantise(np.stack(parts))


def _event_files(name: str, labels: list[str], version: float) -> list[str]:
    if version >= 1.3:
        events = [f"foreground{place}_{label}" for place, label in enumerate(labels)]
        return [f"{name}_events/{event}.wav" for event in events]
    return [f"{name}_sources/foreground/{place}.wav" for place in range(len(labels))]


def _jams(labels: list[str], seconds: float) -> dict[str, Any]:
    """The part of a JAMS file that Scaper writes about its events."""

    def event(label: str) -> Mapping[str, str | float | None]:
        return {
            "label": label,
            "role": "foreground",
            "source_file": f"{GONE}/{label}.wav",
            "source_time": 0.0,
            "event_time": 0.0,
            "event_duration": seconds,
            "snr": 0.0,
            "pitch_shift": None,
            "time_stretch": None,
        }

    data = [
        {"time": 0.0, "duration": seconds, "value": event(label), "confidence": 1.0}
        for label in labels
    ]
    annotation = {"namespace": "scaper", "data": data, "sandbox": {"scaper": {}}}
    about = {"duration": seconds, "title": "", "jams_version": "0.3.4"}
    return {"annotations": [annotation], "file_metadata": about, "sandbox": {}}


class _Player(NamedTuple):
    """An instrument: class and program as in Slakh, and what sounds like it."""

    inst_class: str
    program: int
    play: Callable[[int, int, np.random.Generator], np.ndarray]


PLAYERS = (
    _Player("Piano", 0, sounds.struck_bar),
    _Player("Guitar", 25, partial(sounds.plucked_string, pitch_hz=(110.0, 440.0))),
    _Player("Bass", 33, partial(sounds.plucked_string, pitch_hz=(41.0, 110.0))),
    _Player("Drums", 128, sounds.drums),
    _Player("Strings", 48, partial(sounds.bowed_string, pitch_hz=(196.0, 660.0))),
    _Player("Guitar", 27, partial(sounds.plucked_string, pitch_hz=(165.0, 660.0))),
)
LEVEL_DB = -24.0
RANGE_DB = 3.0


@layout("slakh")
def write_slakh(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    train: int = 4,
    validation: int = 2,
    test: int = 2,
) -> None:
    """Write music of six synthetic instruments in the layout of Slakh2100.

    Every second track lacks one instrument: its metadata says that it was not rendered.

    Args:
        folder: Folder to make, with ``{train,validation,test}/TrackXXXXX/``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every track.
        train: Number of training tracks.
        validation: Number of validation tracks.
        test: Number of test tracks.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "validation": validation, "test": test}
    first = 1
    for number, (split, count) in enumerate(counts.items()):
        (folder / split).mkdir()
        for index in range(count):
            rng = np.random.default_rng([seed, 7, number, index])
            silent = index % 2 * int(rng.integers(1, len(PLAYERS)))
            place = folder / split / f"Track{first + index:05d}"
            stems = _stems(silent, round(seconds * sample_rate), sample_rate, rng)
            _write_track(place, stems, sample_rate)
        first += count


def _stems(
    silent: int, samples: int, sample_rate: int, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """What the players play, by their numbers; number 0 is never silent."""
    stems = {}
    for number, player in enumerate(PLAYERS):
        if number != silent or not silent:
            level = LEVEL_DB + rng.uniform(-RANGE_DB, RANGE_DB)
            wave = player.play(samples, sample_rate, rng)
            stems[number] = scenes.at_level(wave, level)
    return stems


def _write_track(place: Path, stems: dict[int, np.ndarray], sample_rate: int) -> None:
    (place / "stems").mkdir(parents=True)
    waves = writing.quantise(np.stack(list(stems.values())))
    files = [place / "stems" / f"S{number:02d}.flac" for number in stems]
    files.append(place / "mix.flac")
    mixture = waves.sum(axis=0).astype(np.int16)
    for file, wave in zip(files, [*waves, mixture], strict=True):
        soundfile.write(file, wave, sample_rate, subtype="PCM_16")
    entries = {
        f"S{number:02d}": _entry(player, number in stems)
        for number, player in enumerate(PLAYERS)
    }
    metadata = {"UUID": place.name, "audio_dir": "stems", "stems": entries}
    text = yaml.safe_dump({**metadata, "overall_gain": 1.0})
    (place / "metadata.yaml").write_text(text, encoding="utf-8")


def _entry(player: _Player, is_rendered: bool) -> dict[str, str | int | bool]:
    return {
        "inst_class": player.inst_class,
        "is_drum": player.inst_class == "Drums",
        "program_num": player.program,
        "plugin_name": "none",
        "audio_rendered": is_rendered,
    }


@layout("snippets")
def write_snippets(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 4.0,
    test: int = 30,
) -> None:
    """Write snippets of four stems to look at, a test set alone.

    A test set of 3000 snippets, as experiments of nussl have it, would hold as many
    files as it takes minutes to write; what is looked at one by one needs some thirty.

    Args:
        folder: Folder to make, with ``test/<8 digits>.{wav,jams}`` and the isolated
            events of each.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every snippet.
        test: Number of snippets.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    for index in range(test):
        rng = np.random.default_rng([seed, 11, index])
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        mono = {name: wave.mean(axis=0) for name, wave in stems.items()}
        write_soundscape(folder / "test" / f"{index:08d}", mono, sample_rate)
