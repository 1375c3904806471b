"""Miniatures of speech in the layouts of WSJ0-2mix, WHAM! and mix folders.

The speakers of a test set speak in no other split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.corpora import writing
from common.corpora.writing import write_sum
from common.synthetic import scenes, sounds, voices
from common.synthetic.building import Sizes, layout

SPLITS = {"train": "tr", "validation": "cv", "test": "tt"}
"""Folder of each split."""
SPEAKERS = {"train": range(8), "validation": range(8), "test": range(8, 12)}
"""Speakers of each split: those of the test set speak in no other."""
NUMBERS = {2: 3, 3: 12}
"""Number of the layout by its number of speakers."""
SNR_DB = (-6.0, 3.0)
"""Level of the louder speaker over the noise, as in WHAM!."""
WHAM_MIXES = {
    "mix_clean": ("s1", "s2"),
    "mix_both": ("s1", "s2", "noise"),
    "mix_single": ("s1", "noise"),
}
MIXTURES = {"train": 60, "validation": 10, "test": 10}


@layout("wsj0_2mix", MIXTURES, sample_rate=8000)
def write_wsj0_2mix(folder: Path, sizes: Sizes) -> None:
    """Write ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}``, mixtures of two voices.

    Utterances of 2 to 5 s, the mixture cut to the shorter one (``min``), levels up to
    2.5 dB up and down as in the file name. The speakers of ``cv`` are those of ``tr``
    with new utterances; those of ``tt`` speak nowhere else.
    """
    _write_speakers(folder, 2, sizes)


@layout("wsj0_3mix", MIXTURES, sample_rate=8000)
def write_wsj0_3mix(folder: Path, sizes: Sizes) -> None:
    """Write ``3speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2,s3}``, as WSJ0-2mix.

    The level of the third speaker is the mean of the others.
    """
    _write_speakers(folder, 3, sizes)


@layout("wham", {"train": 40, "validation": 10, "test": 10}, sample_rate=8000)
def write_wham(folder: Path, sizes: Sizes) -> None:
    """Write ``wav8k/min/{tr,cv,tt}`` of WHAM!, mixtures of two voices and noise.

    The utterances are as in WSJ0-2mix; the noise lasts throughout, from 3 dB below to
    6 dB above the louder speaker.
    """
    parent = folder / f"wav{sizes.sample_rate // 1000}k" / "min"
    _make_folders(parent, ("s1", "s2", "noise", *WHAM_MIXES))
    for split, index, rng in sizes.draws(5):
        name, sources = _dialogue(split, index, sizes, rng, 2)
        loudest = max(map(_level_db, sources.values()))
        noise = _noise(len(sources["s1"]), sizes.sample_rate, rng)
        sources["noise"] = scenes.at_level(noise, loudest - rng.uniform(*SNR_DB))
        _write_wham(parent / SPLITS[split], name, sources, sizes.sample_rate)


@layout(
    "mix_folders", {"train": 20, "valid": 4, "test": 4}, sample_rate=8000, seconds=3.0
)
def write_mix_folders(folder: Path, sizes: Sizes) -> None:
    """Write ``{train,valid,test}/{mix,voice,noise}``, a voice in noise.

    The speakers of valid are those of train with new utterances.
    """
    for split, index, rng in sizes.draws(6):
        speakers = SPEAKERS["test" if split == "test" else "train"]
        speaker = scenes.speaker(int(rng.choice(speakers)))
        voice = voices.voice(sizes.samples, sizes.sample_rate, rng, speaker)
        noise = _noise(sizes.samples, sizes.sample_rate, rng)
        level = scenes.LEVEL_DB + rng.uniform(*scenes.SNR_DB)
        sources = {
            "voice": scenes.at_level(voice, level),
            "noise": scenes.at_level(noise, scenes.LEVEL_DB),
        }
        pattern = f"{{}}/{index:05d}.wav"
        write_sum(folder / split, pattern, "mix", sources, sizes.sample_rate)


def _write_speakers(folder: Path, speakers: int, sizes: Sizes) -> None:
    """Write mixtures of that number of speakers."""
    parent = folder / f"{speakers}speakers" / f"wav{sizes.sample_rate // 1000}k" / "min"
    _make_folders(parent, ("mix", *(f"s{i + 1}" for i in range(speakers))))
    for split, index, rng in sizes.draws(NUMBERS[speakers]):
        name, sources = _dialogue(split, index, sizes, rng, speakers)
        pattern = f"{{}}/{name}.wav"
        write_sum(parent / SPLITS[split], pattern, "mix", sources, sizes.sample_rate)


def _make_folders(parent: Path, names: tuple[str, ...]) -> None:
    for split in SPLITS.values():
        for name in names:
            (parent / split / name).mkdir(parents=True)


def _dialogue(
    split: str, index: int, sizes: Sizes, rng: np.random.Generator, count: int
) -> tuple[str, dict[str, np.ndarray]]:
    take = 10 * index + list(SPLITS).index(split)
    return scenes.dialogue(SPEAKERS[split], take, sizes.sample_rate, rng, count)


def _noise(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    noises = (sounds.rain, sounds.engine)
    return noises[rng.integers(len(noises))](samples, sample_rate, rng)


def _level_db(wave: np.ndarray) -> float:
    return float(20 * np.log10(max(np.sqrt(np.mean(wave**2)), 1e-9)))


def _write_wham(
    folder: Path, name: str, sources: dict[str, np.ndarray], sample_rate: int
) -> None:
    """Write the sources and their mixtures, each an exact sum."""
    waves = np.stack(list(sources.values()))
    # A sum of some sources may be louder than that of all.
    waves *= min(1.0, writing.HEADROOM / np.max(np.sum(np.abs(waves), axis=0)))
    pcm = dict(zip(sources, writing.quantise(waves), strict=True))
    mixes = {mix: sum(pcm[part] for part in parts) for mix, parts in WHAM_MIXES.items()}
    for part, wave in {**pcm, **mixes}.items():
        writing.write_wav(folder / part / f"{name}.wav", wave, sample_rate)
