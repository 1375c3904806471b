"""Miniatures of songs with a voice, in the layouts of MoisesDB, DSD100 and CCMixter."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.corpora import writing
from common.synthetic import scenes, voices
from common.synthetic.building import draws, layout, write_sum

DSD100_PARTS = {"train": "Dev", "test": "Test"}
KINDS = ("Mixtures", "Sources")
INSTRUMENTAL = 5
"""One song of so many has no voice."""


class _Part(NamedTuple):
    """A file of a stem: what plays [channels, samples], and whether others bleed in."""

    kind: str
    wave: np.ndarray
    has_bleed: bool = False


@layout("moisesdb")
def write_moisesdb(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 7.0,
    songs: int = 6,
) -> None:
    """Write songs in the layout of MoisesDB, with all that is odd about it.

    A stem is listed twice, the choir is a mono file that ends early, into every second
    bass bleeds another sound, and the fifth song and every fifth after it has no voice.

    Args:
        folder: Folder to make, with ``moisesdb_v0.1/<song>/data.json``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every song.
        songs: Number of songs, each by an artist of its own.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    for index in range(songs):
        rng = np.random.default_rng([seed, 11, index])
        place = folder / "moisesdb_v0.1" / str(_identifier(rng))
        stems = _stems(round(seconds * sample_rate), sample_rate, index, rng)
        told = _write_stems(place, stems, sample_rate, rng)
        content = {
            "artist": f"Miniature {index + 1:02d}",
            "song": f"Piece {index + 1:02d}",
            "genre": "synthetic",
            "stems": told,
        }
        text = json.dumps(content, indent=1)
        (place / "data.json").write_text(text, encoding="utf-8")


@layout("dsd100")
def write_dsd100(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 7.0,
    train: int = 4,
    test: int = 4,
) -> None:
    """Write stereo music of four stems in the layout of DSD100.

    Args:
        folder: Folder to make, with ``{Mixtures,Sources}/{Dev,Test}/<song>``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every song.
        train: Number of songs in Dev.
        test: Number of songs in Test.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "test": test}
    for split, index, rng in draws([seed, 12], counts):
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        whole = writing.quantise(np.stack(list(stems.values())))
        name = f"{index + 1:03d} - Miniature {split} - Song {index + 1:02d}"
        parts = {kind: folder / kind / DSD100_PARTS[split] / name for kind in KINDS}
        mixture = parts["Mixtures"] / "mixture.wav"
        writing.write_wav(mixture, whole.sum(axis=0), sample_rate)
        for source, wave in zip(stems, whole, strict=True):
            file = parts["Sources"] / f"{source}.wav"
            writing.write_wav(file, wave, sample_rate)


@layout("ccmixter")
def write_ccmixter(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    seconds: float = 7.0,
    songs: int = 6,
) -> None:
    """Write songs of voice and accompaniment in the layout of CCMixter.

    Args:
        folder: Folder to make, with ``ccmixter_corpus/<song>``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every song.
        songs: Number of songs.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    for index in range(songs):
        rng = np.random.default_rng([seed, 13, index])
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        voice = stems.pop("vocals")
        pair = {"source-01": np.sum(list(stems.values()), axis=0)}
        pair["source-02"] = voice
        place = folder / "ccmixter_corpus" / f"miniature_-_song_{index + 1:02d}"
        write_sum(place, "{}.wav", "mix", pair, sample_rate)


def _identifier(rng: np.random.Generator) -> uuid.UUID:
    return uuid.UUID(bytes=rng.bytes(16), version=4)


def _stems(
    samples: int, sample_rate: int, index: int, rng: np.random.Generator
) -> list[tuple[str, list[_Part]]]:
    """Stems with their files, as a song of MoisesDB lists them."""
    song = scenes.song(samples, sample_rate, rng)
    early = samples - samples // 4
    choir = voices.voice(early, sample_rate, rng, scenes.speaker(index))
    strings = scenes.song(samples, sample_rate, rng)["other"]
    level = scenes.LEVEL_DB - 12
    bass = [_Part("bass guitar", song["bass"])]
    if index % 2 == 1:
        heard = song["bass"] + 0.1 * song["drums"]
        bass = [_Part("bass guitar", heard, has_bleed=True)]
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
    place: Path,
    stems: Sequence[tuple[str, Sequence[_Part]]],
    sample_rate: int,
    rng: np.random.Generator,
) -> list[Mapping[str, object]]:
    """Write files of which no sum can clip, and list them as data.json does."""
    parts = [part for _, every in stems for part in every]
    longest = max(part.wave.shape[1] for part in parts)
    spaced = [np.pad(p.wave, [(0, 0), (0, longest - p.wave.shape[1])]) for p in parts]
    exact = writing.quantise(
        np.stack([np.broadcast_to(s, (2, longest)) for s in spaced])
    )
    waves = iter(exact)
    told: list[Mapping[str, object]] = []
    for name, every in stems:
        tracks = []
        for part in every:
            channels, samples = part.wave.shape
            wave = next(waves)[:channels, :samples]
            identifier = str(_identifier(rng))
            writing.write_wav(place / name / f"{identifier}.wav", wave, sample_rate)
            about = {"id": identifier, "trackType": part.kind, "extension": "wav"}
            tracks.append({**about, "has_bleed": part.has_bleed})
        told.append({"id": str(_identifier(rng)), "stemName": name, "tracks": tracks})
    return told
