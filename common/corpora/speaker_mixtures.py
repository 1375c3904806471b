"""WSJ0-2mix, WSJ0-3mix and WHAM!: mixtures of several speakers, with noise or without.

``2speakers/{wav8k,wav16k}/{min,max}/{tr,cv,tt}/{mix,s1,s2}/<name>.wav`` is WSJ0-2mix,
``{wav8k,wav16k}/{min,max}/{tr,cv,tt}/{mix_clean,mix_both,mix_single,noise,s1,s2}/``
WHAM!. ``min`` is cut to the shorter utterance, ``max`` padded to the longer one.

References:
    Hershey, Chen, Le Roux, Watanabe: Deep clustering, ICASSP 2016, arXiv 1508.04306.
    Wichern et al.: WHAM!: extending speech separation to noisy environments,
    Interspeech 2019, arXiv 1907.01160.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from common.corpora import completeness, mix_folders, reading
from common.corpora.track import CorpusError, Track
from common.files import user_path

TASKS = {
    "mix": (),
    "mix_clean": (),
    "mix_both": ("noise",),
    "mix_single": ("noise",),
}
"""Folder of the mixtures of each task, and their sources besides speech. ``mix`` is of
WSJ0-2mix, the others are of WHAM!."""
SPLITS = {"train": "tr", "valid": "cv", "test": "tt"}
COUNTS = {"train": 20000, "valid": 5000, "test": 3000}
LENGTHS = ("min", "max")
LEVEL = re.compile(r"_-?\d+(?:\.\d+)?(?:_|$)")
UTTERANCE = re.compile(r"\d{2}[0-9a-z][a-z]\w{4}")
"""An utterance of WSJ0: speaker, session, number of the sentence."""


def tracks(  # noqa: PLR0913 (each is one independent choice of the set)
    root: Path | str,
    split: str,
    *,
    task: str = "mix",
    sample_rate: int = 8000,
    length: str = "min",
    speakers: int = 2,
    noise: bool = False,
    skip: bool = False,
) -> list[Track]:
    """Return a split as tracks of ``s1``, ``s2`` and so on, with their mixture.

    Args:
        root: Folder that holds ``2speakers``, ``wav8k`` or ``wav16k``, or a folder of
            these.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        task: ``"mix"`` (WSJ0-2mix), ``"mix_clean"``, ``"mix_both"`` (with noise) or
            ``"mix_single"`` (the first speaker with noise) of WHAM!.
        sample_rate: 8000 or 16000, in Hz; names the folder.
        length: ``"min"`` or ``"max"``.
        speakers: 2, or 3 for WSJ0-3mix.
        noise: Whether the noise of a noisy task is a source too, the last one.
        skip: Leave out mixtures that lack a file, with a warning, instead of raising.

    Returns:
        Tracks sorted by name. With noise that is not a source, the mixture is more than
        the sum.

    Raises:
        CorpusError: There is no such folder; the error names the most similar one. A
            mixture lacks a file, or has another rate than its folder.
    """
    corpus = f"WSJ0-{speakers}mix" if task == "mix" else "WHAM!"
    completeness.expect_split(corpus, split, SPLITS)
    _check(corpus, task, length, noise)
    subfolder = f"wav{sample_rate // 1000}k/{length}/{SPLITS[split]}"
    folder = _find(corpus, user_path(root), subfolder, speakers)
    count = 1 if task == "mix_single" else speakers
    sources = [f"s{number + 1}" for number in range(count)]
    sources += TASKS[task] if noise else ()
    _check_folders(corpus, folder, [task, *sources])
    if (folder / f"s{speakers + 1}").is_dir():
        raise CorpusError(
            f"{corpus}: {folder} holds s{speakers + 1}, so its mixtures are of more "
            f"than {speakers} speakers; read them as such, or check the root."
        )
    laid_out = mix_folders.rows(corpus, folder, task, sources)
    completeness.expect_count(corpus, split, len(laid_out), [COUNTS[split]])
    rows = completeness.complete(corpus, laid_out, skip=skip)
    made = reading.make_tracks(rows)
    for track in made:
        if track.sample_rate != sample_rate:
            raise CorpusError(
                f"{corpus}: {track.sources['s1']} has {track.sample_rate} Hz "
                f"where its folder {subfolder} says {sample_rate}; generate it again."
            )
    return [replace(track, speakers=speakers_of(track.name)) for track in made]


def speakers_of(name: str) -> dict[str, str]:
    """Return the speaker of each source of a mixture from the name of its file.

    Utterances of WSJ0 begin with the three letters of their speaker; any other word is
    the speaker's name.

    Args:
        name: ``<utterance>_<dB>_<utterance>_<dB>`` and so on, with or without a number
            before it.

    Returns:
        The speaker of ``s1``, ``s2`` and so on; empty for any other name.

    >>> speakers_of("01aa010b_0.97482_209a010p_-0.97482")
    {'s1': '01a', 's2': '209'}
    >>> speakers_of("00000_theo_0.00_yweweler_-2.08")
    {'s1': 'theo', 's2': 'yweweler'}
    """
    parts = LEVEL.split(re.sub(r"^\d{5}_", "", name))
    if len(parts) < 3 or parts.pop():
        return {}
    speakers = [part[:3] if UTTERANCE.fullmatch(part) else part for part in parts]
    return {f"s{number}": speaker for number, speaker in enumerate(speakers, 1)}


def _check(corpus: str, task: str, length: str, noise: bool) -> None:
    if task not in TASKS:
        raise CorpusError(f"WHAM!: task={task!r}; expected {', '.join(TASKS)}.")
    if length not in LENGTHS:
        raise CorpusError(f"{corpus}: length={length!r}; expected min or max.")
    if noise and not TASKS[task]:
        raise CorpusError(
            f"{corpus}: task={task} has no noise that could be a source; choose "
            "mix_both or mix_single, or noise=False."
        )


def _find(corpus: str, root: Path, subfolder: str, speakers: int) -> Path:
    """Return the folder of a split, or raise an error with the existing ones."""
    reading.folder_of(corpus, root, f"the mixtures, such as {subfolder}")
    folders, nested = reading.subfolders(root), f"{speakers}speakers"
    bases = [root / nested, root, *(folder / nested for folder in folders), *folders]
    for base in bases:
        if (base / subfolder).is_dir():
            return base / subfolder
    existing = [
        folder.relative_to(base).as_posix()
        for base in bases
        for folder in base.glob("wav*k/m??/*")
        if folder.is_dir()
    ]
    if not existing:
        cure = "generate the mixtures there, or check the root"
        raise reading.misplaced(corpus, root, subfolder, cure)
    nearest = max(sorted(set(existing)), key=lambda name: _similarity(name, subfolder))
    raise CorpusError(
        f"{corpus}: {root} holds {nearest} and no {subfolder}; set "
        f"sample_rate and length to those of the folder, or generate {subfolder}."
    )


def _similarity(path: str, other: str) -> int:
    parts = zip(path.split("/"), other.split("/"), strict=True)
    return sum(left == right for left, right in parts)


def _check_folders(corpus: str, folder: Path, names: list[str]) -> None:
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        existing = ", ".join(subfolder.name for subfolder in reading.subfolders(folder))
        raise CorpusError(
            f"{corpus}: {folder} holds {existing or 'nothing'} and lacks "
            f"{', '.join(missing)}; choose a task whose folders exist (mix is "
            "WSJ0-2mix, mix_clean, mix_both and mix_single are WHAM!), or "
            "generate them."
        )
