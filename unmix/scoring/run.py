"""Evaluate songs: separate the next one while others are scored.

Each song is scored in its own process. Existing scores are kept if the record beside
them is of the same model and options.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, final

from common import cpus
from common.corpora import musdb
from common.evaluation import score_key
from common.evaluation.command import Evaluation
from common.files import scratch_folder, write_json, write_text
from common.separation.files import separate_file
from common.separation.separator import Separator
from common.training.loop import say
from unmix.scoring import tables
from unmix.scoring.songs import (
    MIXTURE,
    Song,
    fingerprint,
    parts_of,
    references,
    scored_targets,
    write_wavs,
)
from unmix.scoring.worker import Job, ScoringError

PROGRAM = "unmix.evaluate"
CURE = "name another --output, or give --overwrite without --limit to score all again"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SONGS = "songs"
"""Key of the record with a digest of the sounds of each song."""
CODE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Folders:
    """Output folders of an evaluation.

    Attributes:
        scores: Folder of the songs' scores, ``EVALDIR/test``.
        estimates: Folder of the songs' estimates, ``OUTDIR/test``; None keeps none.
    """

    scores: Path
    estimates: Path | None = None

    def json(self, name: str) -> Path:
        """Return the file of a song's scores."""
        return self.scores / f"{name}.json"

    def record(self) -> Path:
        """Return the record of the subset."""
        subset = self.scores.name
        name = "evaluation" if subset == "test" else f"evaluation-{subset}"
        return self.scores.with_name(f"{name}.json")


def check_record(
    separator: Separator,
    folders: Folders,
    settings: Mapping[str, Any],
    repeated: Collection[str] | None = (),
    songs: Sequence[Song] = (),
) -> None:
    """Refuse to continue with scores of another model, other options or other sounds.

    Args:
        separator: The model, identified by :func:`common.evaluation.score_key.digest`.
        folders: Folders of the scores; the record is beside them.
        settings: Further values that scores depend on.
        repeated: Songs whose scores are removed, to be scored again; None: all songs.
        songs: The songs to score.

    Raises:
        ScoringError: Remaining scores are of another model, other options or songs
            whose sounds have changed.
    """
    path = folders.record()
    path.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(json.dumps({**settings, "digest": score_key.digest(separator)}))
    contents = _contents(songs)
    # Names of songs of some corpora have folders.
    existing = {
        file.relative_to(folders.scores).with_suffix("").as_posix(): file
        for file in sorted(folders.scores.rglob("*.json"))
    }
    removed = set(existing) if repeated is None else existing.keys() & {*repeated}
    remaining = existing.keys() - removed
    kept: dict[str, str] = {}
    if remaining:
        earlier = _read_record(path) or {}
        _compare(earlier, record, folders.scores)
        kept = {n: d for n, d in earlier.get(SONGS, {}).items() if n in remaining}
        _compare_contents(kept, contents, folders.scores)
    for name in removed:
        existing[name].unlink()
    write_json({**record, SONGS: {**kept, **contents}}, path)


def _contents(songs: Sequence[Song]) -> dict[str, str]:
    """Return the fingerprints of songs, without those that cannot be read.

    :func:`evaluate` reports these and continues with the others.
    """
    contents = {}
    for song in songs:
        with contextlib.suppress(OSError):
            contents[song.name] = fingerprint(song)
    return contents


def _compare_contents(
    kept: Mapping[str, str], contents: Mapping[str, str], scores: Path
) -> None:
    """Refuse songs whose sounds have changed; earlier releases recorded none."""
    for name, content in contents.items():
        if kept.get(name, content) != content:
            raise ScoringError(
                f"{scores} holds scores of {name!r} from before its sounds changed; "
                f"{CURE}"
            )


def _compare(kept: Mapping[str, Any], record: Mapping[str, Any], scores: Path) -> None:
    if not kept:
        raise ScoringError(
            f"{scores} holds scores without a record in the folder above, so they "
            f"may be of any model; {CURE}"
        )
    for name, value in record.items():
        if kept.get(name) == value:
            continue
        was, expected = f"{name}={kept.get(name)}", f"{name}={value}"
        if name == "digest":
            was, expected = "other weights", "these"
        raise ScoringError(
            f"{scores} holds scores of {was}, expected {expected}; {CURE}"
        )


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def evaluate(
    separator: Separator,
    songs: Sequence[Song],
    folders: Folders,
    jobs: int = 1,
    *,
    stoi: bool = False,
) -> Evaluation:
    """Separate songs and score the estimates, unless they have scores.

    Args:
        separator: The model; only sources with references are scored.
        songs: The songs.
        folders: Folders of scores and estimates.
        jobs: Number of songs that are scored at once.
        stoi: Whether to measure the intelligibility of speech too.

    Returns:
        Scores of each song and target, their medians over songs by target, and the
        songs without scores; ``summary["failed"]`` has the reasons by song.

    Raises:
        CorpusError: Less than two sources have references.
    """
    targets = scored_targets(separator.sources, parts_of(songs))
    folders.scores.mkdir(parents=True, exist_ok=True)
    near = folders.estimates or folders.scores
    near.mkdir(parents=True, exist_ok=True)
    with Scorers(jobs) as scorers, scratch_folder(near.parent) as scratch:
        run = _Run(scorers, folders, len(songs))
        for song in songs:
            if folders.json(song.name).exists():
                run.skip()
                continue
            # One more song than is scored at once waits, so that no process is idle.
            run.collect(jobs)
            work = Path(tempfile.mkdtemp(dir=scratch))
            try:
                kept = folders.estimates
                job = _separate(separator, song, targets, kept, work, stoi)
            except (ValueError, OSError) as error:
                run.fail(song.name, error, work)
            else:
                run.submit(job, work)
        run.collect(0)
    return _evaluation(folders, [song.name for song in songs], run.failed)


def _evaluation(
    folders: Folders, names: Sequence[str], failed: Mapping[str, str]
) -> Evaluation:
    """Read the scores of songs, and take their medians."""
    files = {name: folders.json(name) for name in names if folders.json(name).exists()}
    rows = tables.rows_of({n: tables.read_scores(file) for n, file in files.items()})
    seconds = tables.median(map(tables.count_seconds, files.values()))
    summary = {
        "tracks": len(files),
        "seconds": seconds if files else None,
        "failed": dict(failed),
        "targets": tables.summarise(rows),
    }
    return Evaluation(rows, summary, tuple(failed))


def _separate(
    separator: Separator,
    song: Song,
    targets: Sequence[str],
    estimates: Path | None,
    work: Path,
    stoi: bool,
) -> Job:
    """Write the estimates of a song as 32-bit wav, into its folder or a scratch one."""
    parts = parts_of([song])
    if song.track is not None:
        song = write_wavs(song.track, targets, work / "stems")
    elif not song.path.is_dir():
        song = song._replace(path=musdb.decode(song.path, work / "stems"))
    sums, mixture = references(song, targets, parts), song.file(MIXTURE)
    stems = separate_file(separator, mixture, work / "made").folder
    if estimates:
        kept = estimates / song.name
        kept.mkdir(parents=True, exist_ok=True)
        for file in stems.iterdir():
            file.replace(kept / file.name)
        stems = kept
    made = {name: stems / f"{name}.wav" for name in targets}
    return Job(song.name, sums, made, mixture if stoi else None)


@final
class _Run:
    """The songs that are being scored, and the results of the others."""

    def __init__(self, scorers: Scorers, folders: Folders, total: int) -> None:
        self.failed: dict[str, str] = {}
        self._scorers, self._folders = scorers, folders
        self._done, self._total = 0, total
        self._pending: dict[Future[Scored], tuple[str, Path]] = {}

    def skip(self) -> None:
        self._done += 1

    def submit(self, job: Job, work: Path) -> None:
        future = self._scorers.submit(job)
        self._pending[future] = job.name, work

    def collect(self, most: int) -> None:
        """Write finished scores; wait until at most ``most`` songs are pending."""
        while True:
            missing = len(self._pending) > most
            ready, _ = wait(
                self._pending,
                timeout=None if missing else 0,
                return_when=FIRST_COMPLETED,
            )
            for future in ready:
                self._take(future)
            if not missing and not ready:
                return

    def fail(self, name: str, error: Exception, work: Path) -> None:
        """Report why a song has no score; the others continue."""
        self._done += 1
        self.failed[name] = str(error)
        shutil.rmtree(work)
        sys.stderr.write(f"{PROGRAM}: {name}: {error}\n")
        sys.stderr.flush()

    def _take(self, future: Future[Scored]) -> None:
        name, work = self._pending.pop(future)
        try:
            scored = future.result()
        except (ValueError, OSError) as error:
            self.fail(name, error, work)
            return
        path = self._folders.json(name)
        write_text(path, scored.text)
        shutil.rmtree(work)
        self._done += 1
        medians = ", ".join(
            f"{target} {cells['SDR']:.2f}"
            for target, cells in tables.read_scores(path).items()
        )
        say(
            f"[{self._done}/{self._total}] {name}: SDR {medians} dB, "
            f"scored in {scored.seconds:.1f} s"
        )


class Scored(NamedTuple):
    """The scores of a song as museval's JSON, and the time in seconds."""

    text: str
    seconds: float


@final
class Scorers:
    """Scores several songs at once, each in its own process.

    Running processes are killed at the end of the ``with`` block.

    Args:
        count: Number of songs that are scored at once.

    Raises:
        ScoringError: The count is below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ScoringError(f"--jobs is {count}; expected at least 1")
        self._pool = ThreadPoolExecutor(count)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        # Together the processes have one thread for each CPU.
        self._threads = max(1, cpus.count() // count)

    def __enter__(self) -> Scorers:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill running processes."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            process.kill()
        self._pool.shutdown()

    def submit(self, job: Job) -> Future[Scored]:
        """Score a song when a process is free.

        Returns:
            Its scores, or a ScoringError that says why there are none.
        """
        return self._pool.submit(self._score, job)

    def _score(self, job: Job) -> Scored:
        start = time.perf_counter()
        process = self._start()
        self._running.add(process)
        if self._closed:
            process.kill()
        text = json.dumps(job._asdict(), default=str)
        output, errors = process.communicate(text.encode())
        self._running.discard(process)
        if process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise ScoringError(
                f"the process that scored it ended with code {process.returncode} "
                f"({lines[-1] if lines else 'without a message'}); if memory is "
                "full use fewer --jobs: the same command continues"
            )
        answer = json.loads(output)
        if "error" in answer:
            raise ScoringError(answer["error"])
        return Scored(answer["scores"], time.perf_counter() - start)

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", "unmix.scoring.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                **dict.fromkeys(THREADS, str(self._threads)),
                "PYTHONPATH": os.pathsep.join(paths),
                # A file common.py of the user must not be found first.
                "PYTHONSAFEPATH": "1",
            },
        )
