"""Miniatures of speech in the layouts of WSJ0-2mix, WHAM! and others.

The speakers of a test set speak in no other split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.corpora import writing
from common.synthetic import scenes, sounds, voices
from common.synthetic.building import draws, layout, write_sum

SPEAKERS = {"tr": range(8), "cv": range(8), "tt": range(8, 12)}
"""Speakers of each split: those of the test set are heard in no other."""
SEEDS = {2: 3, 3: 12}
"""What the mixtures of so many speakers are drawn by, besides the seed."""
SNR_DB = (-6.0, 3.0)
"""Level of the louder speaker over the noise, as in WHAM!."""
WHAM_MIXES = {
    "mix_clean": ("s1", "s2"),
    "mix_both": ("s1", "s2", "noise"),
    "mix_single": ("s1", "noise"),
}


@layout("wsj0_2mix")
def write_wsj0_2mix(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    train: int = 60,
    validation: int = 10,
    test: int = 10,
) -> None:
    """Write mixtures of two synthetic voices in the layout of WSJ0-2mix, or find them.

    Utterances of 2 to 5 s, the mixture cut to the shorter one (``min``), levels up to
    2.5 dB up and down as in the file name; the speakers of ``tt`` speak nowhere else.

    Args:
        folder: Folder to make, with ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz; names the folder ``wav8k``.
        train: Number of mixtures in ``tr``.
        validation: Number of mixtures in ``cv``, speakers of ``tr`` in new utterances.
        test: Number of mixtures in ``tt``.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"tr": train, "cv": validation, "tt": test}
    _write_speakers(folder, 2, counts, (seed, sample_rate))


@layout("wsj0_3mix")
def write_wsj0_3mix(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    train: int = 60,
    validation: int = 10,
    test: int = 10,
) -> None:
    """Write mixtures of three synthetic voices in the layout of WSJ0-3mix, or find it.

    As :func:`write_wsj0_2mix`, with a third speaker, as loud as the mean of the others.

    Args:
        folder: Folder to make, with ``3speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2,s3}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz; names the folder ``wav8k``.
        train: Number of mixtures in ``tr``.
        validation: Number of mixtures in ``cv``, speakers of ``tr`` in new utterances.
        test: Number of mixtures in ``tt``.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"tr": train, "cv": validation, "tt": test}
    _write_speakers(folder, 3, counts, (seed, sample_rate))


@layout("wham")
def write_wham(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    train: int = 40,
    validation: int = 10,
    test: int = 10,
) -> None:
    """Write mixtures of two synthetic speakers and noise in the layout of WHAM!.

    Utterances as those of :func:`write_wsj0_2mix`; the noise lasts throughout and lies
    3 dB below to 6 dB above the louder speaker.

    Args:
        folder: Folder to make, with ``wav8k/min/{tr,cv,tt}/{mix_clean,mix_both,
            mix_single,noise,s1,s2}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz; names the folder ``wav8k``.
        train: Number of mixtures in ``tr``.
        validation: Number of mixtures in ``cv``, speakers of ``tr`` in new utterances.
        test: Number of mixtures in ``tt``.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"tr": train, "cv": validation, "tt": test}
    parent = folder / f"wav{sample_rate // 1000}k" / "min"
    for number, (split, count) in enumerate(counts.items()):
        for kind in ("s1", "s2", "noise", *WHAM_MIXES):
            (parent / split / kind).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng([seed, 5, number, index])
            take = 10 * index + number
            name, sources = scenes.dialogue(SPEAKERS[split], take, sample_rate, rng)
            loudest = max(map(_level_db, sources.values()))
            sources["noise"] = _noise(len(sources["s1"]), sample_rate, rng)
            level = loudest - rng.uniform(*SNR_DB)
            sources["noise"] = scenes.at_level(sources["noise"], level)
            _write_wham(parent / split, name, sources, sample_rate)


@layout("mix_folders")
def write_mix_folders(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    seconds: float = 3.0,
    train: int = 20,
    valid: int = 4,
    test: int = 4,
) -> None:
    """Write a voice in noise as folders of mixtures and sources with equal names.

    Args:
        folder: Folder to make, with ``{train,valid,test}/{mix,voice,noise}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every mixture.
        train: Number of training mixtures.
        valid: Number of validation mixtures, speakers of train in new utterances.
        test: Number of test mixtures.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "valid": valid, "test": test}
    samples = round(seconds * sample_rate)
    for split, index, rng in draws([seed, 6], counts):
        people = SPEAKERS["tt" if split == "test" else "tr"]
        person = scenes.speaker(int(rng.choice(people)))
        voice = voices.voice(samples, sample_rate, rng, person)
        noise = _noise(samples, sample_rate, rng)
        level = scenes.LEVEL_DB + rng.uniform(*scenes.SNR_DB)
        sources = {
            "voice": scenes.at_level(voice, level),
            "noise": scenes.at_level(noise, scenes.LEVEL_DB),
        }
        pattern = f"{{}}/{index:05d}.wav"
        write_sum(folder / split, pattern, "mix", sources, sample_rate)


def _write_speakers(
    folder: Path, speakers: int, counts: Mapping[str, int], of: tuple[int, int]
) -> None:
    """Write mixtures of so many speakers, given seed and sample rate."""
    seed, sample_rate = of
    parent = folder / f"{speakers}speakers" / f"wav{sample_rate // 1000}k" / "min"
    for number, (split, count) in enumerate(counts.items()):
        place = parent / split
        for kind in ("mix", *(f"s{each + 1}" for each in range(speakers))):
            (place / kind).mkdir(parents=True)
        for index in range(count):
            rng = np.random.default_rng([seed, SEEDS[speakers], number, index])
            take = 10 * index + number
            name, sources = scenes.dialogue(
                SPEAKERS[split], take, sample_rate, rng, speakers
            )
            write_sum(place, f"{{}}/{name}.wav", "mix", sources, sample_rate)


def _noise(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    kinds = (sounds.rain, sounds.engine)
    return kinds[rng.integers(len(kinds))](samples, sample_rate, rng)


def _level_db(wave: np.ndarray) -> float:
    return float(20 * np.log10(max(np.sqrt(np.mean(wave**2)), 1e-9)))


def _write_wham(
    folder: Path, name: str, sources: dict[str, np.ndarray], sample_rate: int
) -> None:
    """Write the sources and all mixtures of some of them, each an exact sum."""
    waves = np.stack(list(sources.values()))
    # Not only the sum of all must fit: any of them may be loud where another cancels.
    waves *= min(1.0, writing.HEADROOM / np.max(np.sum(np.abs(waves), axis=0)))
    whole = dict(zip(sources, writing.quantise(waves), strict=True))
    mixes = {mix: sum(whole[part] for part in of) for mix, of in WHAM_MIXES.items()}
    for kind, wave in {**whole, **mixes}.items():
        writing.write_wav(folder / kind / f"{name}.wav", wave, sample_rate)
