"""Miniatures of music in the layouts of MUSDB18-HQ, MoisesDB, Slakh2100 and others."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import yaml

from common import audio
from common.corpora import writing
from common.corpora.writing import write_sum
from common.synthetic import scenes, sounds, voices
from common.synthetic.building import Sizes, layout

DSD100_SPLITS = {"train": "Dev", "test": "Test"}
SINGERS = {
    "train": {"abjones": 0, "amy": 1},
    "test": {"bobon": 8, "annar": 9, "leon": 10, "titon": 11},
}
"""Numbers of the speakers that sing, by the names of singers in MIR-1K."""
CLIPS = 2
"""Clips of a song of MIR-1K."""
FORMATS = {"vocals": "wav16", "drums": "flac", "bass": "flac", "other": "wav16"}
"""Audio format of each stem of RemixPacks600."""
MISSING = "/made/elsewhere"
"""Folder of the absolute paths in soundscapes, which does not exist."""
INSTRUMENTAL = 5
"""Every song of this number has no vocals in MoisesDB."""


@layout("musdb", {"train": 4, "test": 2}, sample_rate=44100, seconds=7.0)
def write_musdb(folder: Path, sizes: Sizes) -> None:
    """Write ``{train,test}/<Artist - Title>/<stem>.wav``, stereo songs in stems."""
    for split, index, rng in sizes.draws(2):
        song = folder / split / f"Miniature {split} - Piece {index + 1:02d}"
        write_sum(song, "{}.wav", "mixture", _song(sizes, rng), sizes.sample_rate)


@layout("dsd100", {"train": 4, "test": 4}, sample_rate=16000, seconds=7.0)
def write_dsd100(folder: Path, sizes: Sizes) -> None:
    """Write ``{Mixtures,Sources}/{Dev,Test}/<song>``, stereo music of four stems."""
    for split, index, rng in sizes.draws(12):
        name = f"{index + 1:03d} - Miniature {split} - Song {index + 1:02d}"
        song = f"{DSD100_SPLITS[split]}/{name}"
        stems = {f"Sources/{song}/{n}": wave for n, wave in _song(sizes, rng).items()}
        mixture = f"Mixtures/{song}/mixture"
        write_sum(folder, "{}.wav", mixture, stems, sizes.sample_rate)


@layout("ccmixter", {"songs": 6}, sample_rate=16000, seconds=7.0)
def write_ccmixter(folder: Path, sizes: Sizes) -> None:
    """Write ``ccmixter_corpus/<song>``, songs of vocals and accompaniment."""
    for index in range(sizes.counts["songs"]):
        stems = _song(sizes, np.random.default_rng([sizes.seed, 13, index]))
        voice = stems.pop("vocals")
        pair = {"source-01": np.sum(list(stems.values()), axis=0)}
        pair["source-02"] = voice
        song = folder / "ccmixter_corpus" / f"miniature_-_song_{index + 1:02d}"
        write_sum(song, "{}.wav", "mix", pair, sizes.sample_rate)


@layout(
    "song_folders",
    {"train": 4, "valid": 2, "test": 2},
    sample_rate=16000,
    seconds=4.0,
)
def write_song_folders(folder: Path, sizes: Sizes) -> None:
    """Write ``{train,valid,test}/<song>/<stem>.wav``, stereo songs in stems."""
    for split, index, rng in sizes.draws(14):
        song = folder / split / f"Song {index + 1:02d}"
        write_sum(song, "{}.wav", "mixture", _song(sizes, rng), sizes.sample_rate)


@layout("remixpacks600", {"train": 4, "test": 2}, sample_rate=16000, seconds=4.0)
def write_remixpacks600(folder: Path, sizes: Sizes) -> None:
    """Write ``organized_{train,test}/<song>/<stem>.*``, stems in wav and flac."""
    for split, index, rng in sizes.draws(9):
        song = folder / f"organized_{split}" / f"Song {index + 1:02d}"
        song.mkdir(parents=True)
        for name, wave in _song(sizes, rng).items():
            file = song / f"{name}{audio.FORMATS[FORMATS[name]].suffix}"
            audio.write(file, wave, sizes.sample_rate, FORMATS[name])


@layout("mir1k", {"train": 6, "test": 4}, sample_rate=16000, seconds=4.0)
def write_mir1k(folder: Path, sizes: Sizes) -> None:
    """Write ``MIR-1K/{Wavfile,UndividedWavfile}``: accompaniment left, voice right.

    A song has two clips of the length of the parameters. Two singers sing in train,
    four others in test.
    """
    for split, index, rng in sizes.draws(8):
        singers = list(SINGERS[split].items())
        name, speaker = singers[index % len(singers)]
        song = _karaoke(speaker, CLIPS * sizes.samples, sizes.sample_rate, rng)
        title = f"{name}_{index // len(singers) + 1}"
        undivided = folder / "MIR-1K" / "UndividedWavfile" / f"{title}.wav"
        writing.write_wav(undivided, song, sizes.sample_rate)
        for clip, part in enumerate(np.split(song, CLIPS, axis=1), 1):
            file = folder / "MIR-1K" / "Wavfile" / f"{title}_{clip:02d}.wav"
            writing.write_wav(file, part, sizes.sample_rate)


def _song(sizes: Sizes, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return scenes.song(sizes.samples, sizes.sample_rate, rng)


def _karaoke(
    speaker: int, samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Return accompaniment and voice, int16 [2, samples]."""
    stems = scenes.song(samples, sample_rate, rng)
    band = sum(stems[name].mean(axis=0) for name in ("drums", "bass", "other"))
    voice = voices.voice(samples, sample_rate, rng, scenes.speaker(speaker))
    level = scenes.LEVEL_DB + rng.uniform(*scenes.SNR_DB)
    parts = [scenes.at_level(band, scenes.LEVEL_DB), scenes.at_level(voice, level)]
    return writing.quantise(np.stack(parts))


@layout(
    "scaper",
    {"train": 8, "valid": 2, "test": 2},
    sample_rate=16000,
    seconds=4.0,
    version=1.3,
)
def write_scaper(folder: Path, sizes: Sizes) -> None:
    """Write ``{train,valid,test}/<8 digits>.{wav,jams}`` with isolated events.

    From ``version`` 1.3 on the events are ``<name>_events/foreground0_vocals.wav``,
    and their absolute paths in the jams do not exist; before, as in the fork of nussl's
    authors, they are ``<name>_sources/foreground/0.wav``.
    """
    for split, index, rng in sizes.draws(10):
        version = sizes.options["version"]
        _write_soundscape(folder / split, index, _song(sizes, rng), sizes, version)


@layout("snippets", {"test": 30}, sample_rate=16000, seconds=4.0)
def write_snippets(folder: Path, sizes: Sizes) -> None:
    """Write ``test/<8 digits>.{wav,jams}`` with isolated events, a test set alone.

    The 3000 snippets of nussl's experiments take minutes to write; about thirty are
    enough to look at one by one.
    """
    for index in range(sizes.counts["test"]):
        stems = _song(sizes, np.random.default_rng([sizes.seed, 11, index]))
        _write_soundscape(folder / "test", index, stems, sizes)


def _write_soundscape(
    folder: Path,
    index: int,
    stems: Mapping[str, np.ndarray],
    sizes: Sizes,
    version: float = 1.3,
) -> None:
    """Write one soundscape with its annotation and its isolated events."""
    name, labels = f"{index:08d}", list(stems)
    files = _event_files(name, labels, version)
    waves = [stem.mean(axis=0) for stem in stems.values()]
    events = dict(zip(files, waves, strict=True))
    write_sum(folder, "{}", f"{name}.wav", events, sizes.sample_rate)
    paths: dict[str, object] = {}
    if version >= 1.3:
        paths["soundscape_audio_path"] = f"{MISSING}/{name}.wav"
        paths["isolated_events_audio_path"] = [f"{MISSING}/{file}" for file in files]
    listed = [writing.Event(label, f"{MISSING}/{label}.wav") for label in labels]
    content = writing.jams(listed, sizes.samples / sizes.sample_rate, paths)
    text = json.dumps(content, indent=1)
    (folder / f"{name}.jams").write_text(text, encoding="utf-8")


def _event_files(name: str, labels: list[str], version: float) -> list[str]:
    if version >= 1.3:
        events = [f"foreground{index}_{label}" for index, label in enumerate(labels)]
        return [f"{name}_events/{event}.wav" for event in events]
    return [f"{name}_sources/foreground/{index}.wav" for index in range(len(labels))]


class _Player(NamedTuple):
    """An instrument: class and program as in Slakh, and a synthetic sound."""

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


@layout(
    "slakh",
    {"train": 4, "validation": 2, "test": 2},
    sample_rate=16000,
    seconds=4.0,
)
def write_slakh(folder: Path, sizes: Sizes) -> None:
    """Write ``{train,validation,test}/TrackXXXXX``, music of six instruments.

    Every second track lacks one instrument: its metadata marks it as not rendered.
    """
    for split in sizes.counts:
        (folder / split).mkdir()
    for number, (split, index, rng) in enumerate(sizes.draws(7), 1):
        silent = index % 2 * int(rng.integers(1, len(PLAYERS)))
        track = folder / split / f"Track{number:05d}"
        _write_track(track, _instruments(silent, sizes, rng), sizes.sample_rate)


def _instruments(
    silent: int, sizes: Sizes, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Return the sound of every player by its number; number 0 is never silent."""
    stems = {}
    for number, player in enumerate(PLAYERS):
        if number != silent or not silent:
            level = LEVEL_DB + rng.uniform(-RANGE_DB, RANGE_DB)
            wave = player.play(sizes.samples, sizes.sample_rate, rng)
            stems[number] = scenes.at_level(wave, level)
    return stems


def _write_track(folder: Path, stems: dict[int, np.ndarray], sample_rate: int) -> None:
    (folder / "stems").mkdir(parents=True)
    waves = writing.quantise(np.stack(list(stems.values())))
    files = [folder / "stems" / f"S{number:02d}.flac" for number in stems]
    files.append(folder / "mix.flac")
    mixture = waves.sum(axis=0).astype(np.int16)
    for file, wave in zip(files, [*waves, mixture], strict=True):
        soundfile.write(file, wave, sample_rate, subtype="PCM_16")
    entries = {
        f"S{number:02d}": _entry(player, number in stems)
        for number, player in enumerate(PLAYERS)
    }
    metadata = {"UUID": folder.name, "audio_dir": "stems", "stems": entries}
    text = yaml.safe_dump({**metadata, "overall_gain": 1.0})
    (folder / "metadata.yaml").write_text(text, encoding="utf-8")


def _entry(player: _Player, is_rendered: bool) -> dict[str, str | int | bool]:
    return {
        "inst_class": player.inst_class,
        "is_drum": player.inst_class == "Drums",
        "program_num": player.program,
        "plugin_name": "none",
        "audio_rendered": is_rendered,
    }


class _Part(NamedTuple):
    """A file of a stem: instrument, sound [channels, samples], and bleed."""

    instrument: str
    wave: np.ndarray
    has_bleed: bool = False


@layout("moisesdb", {"songs": 6}, sample_rate=16000, seconds=7.0)
def write_moisesdb(folder: Path, sizes: Sizes) -> None:
    """Write ``moisesdb_v0.1/<song>/data.json`` and its stems, with their peculiarities.

    A stem is listed twice, the choir is a mono file that ends early, every second bass
    has bleed, and every fifth song has no vocals. Each song has another artist.
    """
    for index in range(sizes.counts["songs"]):
        rng = np.random.default_rng([sizes.seed, 11, index])
        song = folder / "moisesdb_v0.1" / str(_identifier(rng))
        stems = _stems(sizes.samples, sizes.sample_rate, index, rng)
        content = {
            "artist": f"Miniature {index + 1:02d}",
            "song": f"Piece {index + 1:02d}",
            "genre": "synthetic",
            "stems": _write_stems(song, stems, sizes.sample_rate, rng),
        }
        text = json.dumps(content, indent=1)
        (song / "data.json").write_text(text, encoding="utf-8")


def _identifier(rng: np.random.Generator) -> uuid.UUID:
    return uuid.UUID(bytes=rng.bytes(16), version=4)


def _stems(
    samples: int, sample_rate: int, index: int, rng: np.random.Generator
) -> list[tuple[str, list[_Part]]]:
    """Return the stems of a song with their files, as MoisesDB lists them."""
    song = scenes.song(samples, sample_rate, rng)
    early = samples - samples // 4
    choir = voices.voice(early, sample_rate, rng, scenes.speaker(index))
    strings = scenes.song(samples, sample_rate, rng)["other"]
    level = scenes.LEVEL_DB - 12
    bass = [_Part("bass guitar", song["bass"])]
    if index % 2 == 1:
        mixed = song["bass"] + 0.1 * song["drums"]
        bass = [_Part("bass guitar", mixed, has_bleed=True)]
    listed = [
        ("bass", bass),
        ("other", [_Part("fx/processed sound, scratches, gun shots", song["other"])]),
        ("drums", [_Part("full acoustic drumkit", song["drums"])]),
        ("other", [_Part("other", scenes.at_level(strings, level))]),
    ]
    if index % INSTRUMENTAL != INSTRUMENTAL - 1:
        quiet = scenes.at_level(choir[np.newaxis], level)
        lead = _Part("lead female singer", song["vocals"])
        listed.insert(1, ("vocals", [lead, _Part("background vocals", quiet)]))
    return listed


def _write_stems(
    folder: Path,
    stems: Sequence[tuple[str, Sequence[_Part]]],
    sample_rate: int,
    rng: np.random.Generator,
) -> list[Mapping[str, object]]:
    """Write the files of stems, and return their list in data.json."""
    parts = [part for _, files in stems for part in files]
    longest = max(part.wave.shape[1] for part in parts)
    padded = [np.pad(p.wave, [(0, 0), (0, longest - p.wave.shape[1])]) for p in parts]
    pcm = writing.quantise(np.stack([np.broadcast_to(s, (2, longest)) for s in padded]))
    waves = iter(pcm)
    listed: list[Mapping[str, object]] = []
    for name, files in stems:
        tracks = []
        for part in files:
            channels, samples = part.wave.shape
            wave = next(waves)[:channels, :samples]
            identifier = str(_identifier(rng))
            writing.write_wav(folder / name / f"{identifier}.wav", wave, sample_rate)
            about = {"id": identifier, "trackType": part.instrument, "extension": "wav"}
            tracks.append({**about, "has_bleed": part.has_bleed})
        listed.append({"id": str(_identifier(rng)), "stemName": name, "tracks": tracks})
    return listed
