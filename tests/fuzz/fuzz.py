"""Looks for files on which a reader crashes, hangs, or raises an undocumented error.

    python tests/fuzz/fuzz.py SECONDS FOLDER [TARGET...]

Each target has SECONDS and a process of its own. With atheris installed, inputs that
reach new lines or branches of the readers are kept and changed further; without it,
only the seeds are. Finds are written to FOLDER, a file for each line of code that
raises. A crash or an input that takes ten seconds ends the process, and its input is in
FOLDER too. Memory beyond 2 GB more than at the start raises MemoryError, which is a
find.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

try:
    import atheris
except ImportError:
    atheris = None

INSTRUMENTED = [
    "common.audio", "common.config", "common.corpora", "common.evaluation.table",
    "common.records", "common.separation.report", "common.training.network_file",
    "common.weights", "clustering.foreign",
    "mixit.augment.mixing_list", "mixit.yfcc.clip_list", "json", "yaml", "zipfile",
    "pickle", "csv",
]  # fmt: skip
MEMORY = 2 << 30
MEMORY_FOLDER = "/dev/shm"
LONGEST = 1 << 15
MOST_SECONDS = 10

with atheris.instrument_imports(INSTRUMENTED) if atheris else contextlib.nullcontext():
    import targets


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Change a few bytes, numbers or stretches of a content."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        size = draw.choice((1, 1, 2, 4, 8, 40))
        kind = draw.randrange(5)
        if kind == 0:
            changed[at : at + size] = draw.randbytes(size)
        elif kind == 1:
            del changed[at : at + size]
        elif kind == 2:
            changed[at:at] = changed[at : at + size] * draw.choice((1, 2, 500))
        elif kind == 3:
            changed[at : at + size] = draw.choice(WORDS)[:size]
        elif at < len(changed):
            changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed[:LONGEST])


WORDS = (
    bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), b"-1", b"1e999",
    b"null", b"NaN", b"[" * 40, b"{" * 40, b"{}", b"[]", b'""', b"\xef\xbb\xbf", b"\n",
)  # fmt: skip
"""Contents that readers stumble over."""


class Hunt:
    """Gives inputs to a reader, and keeps those that it must not fail on.

    Args:
        reader: Returns the error that is a find.
        folder: Folder of the finds.
    """

    def __init__(
        self, reader: Callable[[bytes], BaseException | None], folder: Path
    ) -> None:
        self._reader, self._folder = reader, folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self.inputs, self.slowest, self._said = 0, 0.0, 0.0
        self.finds: dict[str, tuple[bytes, str]] = {}

    def __call__(self, content: bytes) -> None:
        """Read an input."""
        began = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            error = self._reader(content)
        self.inputs += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if error is not None:
            self._keep(content, error)
        # libFuzzer ends the process without a word to Python.
        if time.monotonic() > self._said + 1:
            self.say()

    def say(self) -> None:
        """Write what was done so far as JSON."""
        self._said = time.monotonic()
        facts = {
            "inputs": self.inputs,
            "processor_seconds": round(time.process_time()),
            "slowest_seconds": round(self.slowest, 2),
            "finds": {key: trace for key, (_, trace) in self.finds.items()},
        }
        path = self._folder.with_name(f"{self._folder.name}.json")
        path.write_text(json.dumps(facts, indent=1), "utf-8")

    def _keep(self, content: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "site-packages" not in f.filename] or frames
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        key = f"{type(error).__name__} at {at}"
        known = self.finds.get(key)
        if known is None or len(content) < len(known[0]):
            self.finds[key] = content, "".join(traceback.format_exception(error))
            name = hashlib.sha256(key.encode()).hexdigest()[:8]
            (self._folder / name).write_bytes(content)
            (self._folder / f"{name}.txt").write_text(self.finds[key][1])


def plain(hunt: Hunt, seeds: list[bytes], seconds: float) -> None:
    """Change the seeds at random."""
    draw, end = random.Random(1), time.process_time() + seconds
    while time.process_time() < end:
        hunt(mutate(draw.choice(seeds), draw))


def guided(hunt: Hunt, seeds: list[bytes], seconds: float, folder: Path) -> None:
    """Change the seeds, and what reaches new code; ends the process."""
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": int(seconds),
        "timeout": MOST_SECONDS,
        "max_len": LONGEST,
        "rss_limit_mb": 0,
        "print_final_stats": 1,
        "artifact_prefix": f"{hunt._folder}/",
    }
    words = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(folder)], hunt)
    atheris.Fuzz()


def hunt(name: str, seconds: float, output: Path) -> None:
    """Hunt in one target, and write what was done as JSON."""
    logging.disable(logging.CRITICAL)
    target = targets.TARGETS[name]
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as root:
        work, corpus = Path(root, "work"), Path(root, "corpus")
        work.mkdir()
        corpus.mkdir()
        seeds = targets.seeds(target)
        hunt = Hunt(targets.Reader(target, work), output / name)
        for seed in seeds:
            hunt(seed)
        used = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
        limit = used * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if atheris is None:
            plain(hunt, seeds, seconds)
        else:
            guided(hunt, seeds, seconds, corpus)
        hunt.say()


def main(seconds: str, output: str, *names: str) -> int:
    """Hunt in targets, by default in all; returns 1 where one ended by a crash."""
    worst = 0
    for name in names or targets.TARGETS:
        child = os.fork()
        if not child:
            try:
                hunt(name, float(seconds), Path(output))
            finally:
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{name} ended with {code}\n")
        sys.stdout.flush()
        worst = max(worst, abs(code))
    return min(worst, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
