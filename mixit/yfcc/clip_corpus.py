"""A corpus in the layout of FUSS, made of clips that are cut from videos.

Each file is written whole or not at all, and the list after all files, so that an
interrupted run can continue.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from common import cpus, files
from common.beam import Spread
from common.corpora import fuss, reading
from common.corpora.track import CorpusError
from common.corpora.writing import quantise, write_wav
from common.files import replacing, write_json, write_text
from mixit.yfcc import clip_list, video_sound
from mixit.yfcc.clip_list import Clip, ClipList, Row, Skip
from mixit.yfcc.video_sound import ClipError

WAV_HEADER_BYTES = 44
AT_A_TIME = 256
"""Number of rows that the threads, or another machine, take at a time."""
SHARED = "every worker must see all folders under the same paths, as on a shared disk"


@dataclass(frozen=True)
class ClipFormat:
    """Length and sample rate in Hz of the examples."""

    seconds: float = 10.0
    sample_rate: int = 16000

    @property
    def samples(self) -> int:
        """Length of an example in samples."""
        return round(self.seconds * self.sample_rate)


class Made(NamedTuple):
    """Result of a row: its line of the example list, or the reason for its absence."""

    line: str
    was_there: bool = False
    skip: Skip | None = None


def make(
    clips: ClipList,
    videos: Path,
    root: Path,
    split: str,
    shape: ClipFormat,
    *,
    jobs: int | None = None,
    spread: Spread | None = None,
) -> Counter[str]:
    """Make the examples of a split, then its list.

    Args:
        clips: Clips from :func:`mixit.yfcc.clip_list.read`.
        videos: Folder of the videos.
        root: Folder of the corpus; complete files in it are kept.
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        shape: Length and rate of the examples.
        jobs: Threads; None takes one for each CPU. The result does not depend on it.
        spread: Function that makes the examples by calling another one with each of
            several job files, on machines that see all folders under the same paths;
            by default the threads of this process make them, to the same bytes.

    Returns:
        Number of examples ``"written"``, of those among them that existed ``"before"``,
        and of skipped rows by reason.

    Raises:
        CorpusError: The folder of the videos is missing, that of the corpus holds
            another split of this name, or no example could be made.
    """
    if not videos.is_dir():
        raise CorpusError(f"{reading.no_folder(videos, 'the folder of videos')}.")
    video_sound.need_ffmpeg()
    _claim(root, split, clips, shape)
    rows = list(zip(clips.rows, clip_list.names(clips.rows), strict=True))
    batches = root / f".batches_{split}"
    if spread is None:
        work = partial(_make_example, root, split, videos, shape)
        made = list(_in_threads(work, rows, jobs, split))
    else:
        batches.mkdir(exist_ok=True)
        saved = _save_batches(batches, (root, split, videos, shape), rows)
        made = _by_jobs(saved, spread)
        # The results are read; another run tries the skipped clips again.
        shutil.rmtree(batches, ignore_errors=True)
        for folder in (root / split, *(root / split).glob("*_sources")):
            files.sweep(folder)
    passed_over = [result.skip for result in made if result.skip]
    skipped = clips.skipped + passed_over
    done = Counter(skip.reason for skip in skipped)
    done["written"] = sum(result.skip is None for result in made)
    done["before"] = sum(result.was_there for result in made)
    _write_skipped(root / f"skipped_{split}.csv", skipped)
    if not done["written"]:
        first = passed_over[0]
        raise CorpusError(
            f"None of {len(made) + len(clips.skipped)} clips could be written "
            f"({counts(done)}); the first, line {first.line} of {first.table}, is "
            f"{first.reason}: {first.detail}; all are in {root}/skipped_{split}.csv."
        )
    lines = [result.line for result in made if result.skip is None]
    fuss.write_list(root, split, lines)
    return done


@files.beside_other_machines()
def make_batch(job: str) -> None:
    """Make the examples of a job file, and write beside it what became of each.

    Args:
        job: Path of the file, which :func:`make` writes for another machine.

    Raises:
        CorpusError: The machine lacks the job file, ffmpeg or the folder of the videos.
    """
    result = _result(Path(job))
    if result.is_file():
        return
    video_sound.need_ffmpeg()
    try:
        batch = json.loads(Path(job).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{job} cannot be read ({error}); {SHARED}.") from error
    root, videos = Path(batch["root"]), Path(batch["videos"])
    if not videos.is_dir():
        raise CorpusError(f"The folder of videos {videos} is not here; {SHARED}.")
    shape = ClipFormat(**batch["recipe"])
    work = partial(_make_example, root, batch["split"], videos, shape)
    made = [work((_row(row), name)) for row, name in batch["rows"]]
    write_json(made, result)


def pad_clip(part: np.ndarray, offset: int, samples: int) -> np.ndarray:
    """Pad a clip with silence at its offset; an excess by rounding is trimmed.

    >>> pad_clip(np.ones(2), 1, 4)
    array([0., 1., 1., 0.], dtype=float32)
    """
    example = np.zeros(samples, np.float32)
    fitting = part[: max(0, samples - offset)]
    example[offset : offset + len(fitting)] = fitting
    return example


def find_video(videos: Path, name: str) -> Path:
    """Find a video below a folder, with as many of its leading folders as exist.

    Args:
        videos: The folder.
        name: Path of the video in the lists.

    Raises:
        ClipError: There is no such video.
    """
    parts = [part for part in PurePosixPath(name).parts if part != "/"]
    for first in range(len(parts)):
        path = videos.joinpath(*parts[first:])
        with suppress(OSError):  # a name that is too long, an unreadable folder
            if path.is_file():
                return path
    candidates = videos.joinpath(*parts), videos / parts[-1]
    detail = " or ".join(dict.fromkeys(map(str, candidates)))
    raise ClipError("missing", f"looked for as {detail}")


def _claim(root: Path, split: str, clips: ClipList, shape: ClipFormat) -> None:
    """Reserve a split for this format and list, or refuse if it holds another."""
    if root.exists() and not root.is_dir():
        raise CorpusError(f"{root} is a file; choose another --output.")
    root.mkdir(parents=True, exist_ok=True)
    path, folder = root / f"recipe_{split}.json", root / split
    mine = {**asdict(shape), "clips": clips.digest()}
    listed = (root / fuss.list_name(split)).is_file()
    if listed or (folder.is_dir() and any(folder.iterdir())):
        theirs = {}
        with suppress(OSError, ValueError):
            theirs = json.loads(path.read_text(encoding="utf-8"))
        if theirs != mine:
            name = {"clips": "list", "sample_rate": "sample rate", "seconds": "length"}
            what = [name[key] for key in mine if theirs.get(key) != mine[key]]
            raise CorpusError(
                f"{root} holds a split {split} made with another {' and '.join(what)}; "
                f"choose another --output, or remove {folder} and its list."
            )
    write_json(mine, path)


def _in_threads(
    work: Callable[[tuple[Row, str]], Made],
    rows: Sequence[tuple[Row, str]],
    jobs: int | None,
    split: str,
) -> Iterator[Made]:
    """Yield results in the order of the rows, in the memory of a few of them."""
    bar = tqdm(total=len(rows), desc=split, unit="clip", disable=None)
    with bar, ThreadPoolExecutor(cpus.threads(jobs)) as pool:
        for first in range(0, len(rows), AT_A_TIME):
            for made in pool.map(work, rows[first : first + AT_A_TIME]):
                bar.update()
                yield made


def _save_batches(
    folder: Path,
    where: tuple[Path, str, Path, ClipFormat],
    rows: Sequence[tuple[Row, str]],
) -> list[Path]:
    """Write the rows as job files for :func:`make_batch`, named by their content."""
    root, split, videos, shape = where
    shared = {
        "root": str(root.absolute()),
        "split": split,
        "videos": str(videos.absolute()),
        "recipe": asdict(shape),
    }
    saved = []
    for first in range(0, len(rows), AT_A_TIME):
        text = json.dumps({**shared, "rows": rows[first : first + AT_A_TIME]})
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = folder / f"{first:09d}-{digest}.json"
        if not path.exists():
            write_text(path, text)
        saved.append(path)
    return saved


def _by_jobs(saved: Sequence[Path], spread: Spread) -> list[Made]:
    """Make the batches that have no result, and read what became of every row."""
    missing = [str(job) for job in saved if not _result(job).is_file()]
    if missing:
        spread(make_batch, missing)
    lacking = [job for job in saved if not _result(job).is_file()]
    if lacking:
        raise CorpusError(
            f"The workers ended, but {len(lacking)} of {len(saved)} batches, first "
            f"{_result(lacking[0])}, are not made; {SHARED}."
        )
    return [
        Made(line, was_there, None if skip is None else Skip(*skip))
        for job in saved
        for line, was_there, skip in json.loads(_result(job).read_text("utf-8"))
    ]


def _result(job: Path) -> Path:
    return job.with_suffix(".made")


def _row(fields: Sequence[Any]) -> Row:
    table, line, clips = fields
    return Row(table, line, tuple(Clip(*clip) for clip in clips))


def _make_example(
    root: Path,
    split: str,
    videos: Path,
    shape: ClipFormat,
    named: tuple[Row, str],
) -> Made:
    """Make the files of a row, the mixture last, unless they exist."""
    row, name = named
    names = [f"{split}/{name}.wav"]
    if len(row.clips) > 1:
        for number, clip in enumerate(row.clips, 1):
            source = f"{number}_{clip_list.clip_name(clip)}.wav"
            names.append(f"{split}/{name}_sources/{source}")
    line = "\t".join(names if len(names) > 1 else names * 2)
    paths = [root / name for name in names]
    if all(_is_whole(path, shape) for path in paths):
        return Made(line, was_there=True)
    clip = row.clips[0]
    try:
        waves = []
        for clip in row.clips:
            waves.append(_read(videos, clip, shape))
    except ClipError as error:
        skip = Skip(row.table, row.line, clip.video, error.reason, error.detail)
        return Made(line, skip=skip)
    for path, wave in reversed(list(zip(paths, _integers(waves), strict=True))):
        _write_whole(path, wave, shape.sample_rate)
    return Made(line)


def _read(videos: Path, clip: Clip, shape: ClipFormat) -> np.ndarray:
    """Read the example of one clip, [samples], full scale +-1."""
    rate = shape.sample_rate
    path = find_video(videos, clip.video)
    length = max(1, round((clip.end - clip.start) * rate))
    part = video_sound.read(path, round(clip.start * rate), length, rate)
    return pad_clip(part, round(clip.offset * rate), shape.samples)


def _integers(waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Round waves to 16 bits; two are preceded by their sum, without clipping."""
    if len(waves) == 1:
        return [np.clip(np.round(32768 * waves[0]), -32768, 32767)]
    whole = quantise(np.stack(waves))
    return [whole.sum(axis=0), *whole]


def _is_whole(path: Path, shape: ClipFormat) -> bool:
    try:
        return path.stat().st_size == WAV_HEADER_BYTES + 2 * shape.samples
    except FileNotFoundError:
        return False


def _write_whole(path: Path, wave: np.ndarray, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        write_wav(draft, wave, sample_rate)


def _write_skipped(path: Path, skipped: Sequence[Skip]) -> None:
    ordered = sorted(skipped, key=lambda skip: (skip.table, skip.line))
    with (
        replacing(path) as draft,
        draft.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["list", "row", "path", "reason", "detail"])
        writer.writerows(ordered)


def counts(done: Counter[str]) -> str:
    """Format the number of skipped rows by reason.

    >>> counts(Counter(written=5, before=2, missing=3, broken=1))
    'broken 1, missing 3'
    """
    reasons = sorted(set(done) - {"written", "before"})
    return ", ".join(f"{reason} {done[reason]}" for reason in reasons)
