"""All songs of an evaluation: the next is separated while others are scored."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import final

from common.files import scratch_folder, write_text
from common.separation.files import separate_file
from common.separation.separator import Separator
from common.training.loop import say
from unmix.scoring import scores, songs
from unmix.scoring.processes import Job, Scored, Scorers

PROGRAM = "unmix.evaluate"


@dataclass(frozen=True)
class Folders:
    """Where results go.

    Attributes:
        scores: Folder of the songs' scores, ``EVALDIR/test``.
        estimates: Folder of the songs' estimates, ``OUTDIR/test``; None keeps none.
    """

    scores: Path
    estimates: Path | None = None

    def json(self, name: str) -> Path:
        """Name the file of a song's scores."""
        return self.scores / f"{name}.json"


def evaluate(
    separator: Separator,
    found: Sequence[songs.Song],
    folders: Folders,
    cores: int = 1,
) -> dict[str, str]:
    """Separate songs and score the estimates, unless they have scores.

    Args:
        separator: What separates; of its sources those with references are scored.
        found: The songs.
        folders: Where scores and estimates go.
        cores: How many songs are scored at once.

    Returns:
        Why there is no score, by the name of the song.

    Raises:
        CorpusError: Less than two sources have references.
    """
    targets = songs.scored(separator.sources)
    folders.scores.mkdir(parents=True, exist_ok=True)
    near = folders.estimates or folders.scores
    near.mkdir(parents=True, exist_ok=True)
    with (
        Scorers(cores) as scorers,
        scratch_folder(near.parent) as work,
    ):
        run = _Run(scorers, folders, len(found))
        for song in found:
            if folders.json(song.name).exists():
                run.skip()
                continue
            # One more than is scored waits, so that none has to.
            run.collect(cores)
            place = Path(tempfile.mkdtemp(dir=work))
            try:
                job = _separate(separator, song, targets, folders.estimates, place)
            except (ValueError, OSError) as error:
                run.fail(song.name, error, place)
            else:
                run.submit(job, place)
        run.collect(0)
    return run.failed


@final
class _Run:
    """The songs that are being scored, and what became of the others."""

    def __init__(self, scorers: Scorers, folders: Folders, total: int) -> None:
        self.failed: dict[str, str] = {}
        self._scorers, self._folders = scorers, folders
        self._done, self._total = 0, total
        self._pending: dict[Future[Scored], tuple[str, Path]] = {}

    def skip(self) -> None:
        self._done += 1

    def submit(self, job: Job, place: Path) -> None:
        future = self._scorers.submit(job)
        self._pending[future] = job.name, place

    def collect(self, most: int) -> None:
        """Write the scores that are there; wait until at most so many are missing."""
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

    def fail(self, name: str, error: Exception, place: Path) -> None:
        """Tell why a song has no score; the others go on."""
        self._done += 1
        self.failed[name] = str(error)
        shutil.rmtree(place)
        sys.stderr.write(f"{PROGRAM}: {name}: {error}\n")
        sys.stderr.flush()

    def _take(self, future: Future[Scored]) -> None:
        name, place = self._pending.pop(future)
        try:
            scored = future.result()
        except ValueError as error:
            self.fail(name, error, place)
            return
        path = self._folders.json(name)
        write_text(path, scored.text)
        shutil.rmtree(place)
        self._done += 1
        medians = ", ".join(
            f"{target} {cells['SDR']:.2f}"
            for target, cells in scores.read(path).items()
        )
        say(
            f"[{self._done}/{self._total}] {name}: SDR {medians} dB, "
            f"scored in {scored.seconds:.1f} s"
        )


def _separate(
    separator: Separator,
    song: songs.Song,
    targets: Sequence[str],
    estimates: Path | None,
    place: Path,
) -> Job:
    """Write the estimates of a song as 32-bit wav, into its folder or a passing one."""
    folder = songs.opened(song, place / "stems")
    references = songs.references(folder, targets)
    made = separate_file(separator, songs.mixture(folder), place / "made").folder
    if estimates:
        kept = estimates / song.name
        kept.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            file.replace(kept / file.name)
        made = kept
    return Job(song.name, references, {name: made / f"{name}.wav" for name in targets})
