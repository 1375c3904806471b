"""Seconds from the upload of a song to the stems of its loudest part, cold and warm.

Cold: the server is started and the song sent at once, so the start of the worker and
the load of the model count. Warm: the same song once more. Both with TensorFlow and
with exported models in onnxruntime (``--light``)::

    python benchmarks/first_preview.py song.ogg

Without a song, noise of the same length is sent. ``--quick`` measures one model once
and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import turns
from light_runtime import noise

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("unmix/singing", "mixit/universal", "adversarial/mini", "clustering/speech2")
PAUSE_SECONDS = 0.02
SECONDS, RATE = 133, 44100


class Seconds(NamedTuple):
    """Time from the start of the server to its worker, and to first previews."""

    worker: float
    cold: float
    warm: float


@contextlib.contextmanager
def server(*options: str) -> Iterator[str]:
    """Run a server; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "harmony_split", "--port=0", f"--folder={folder}"]
            + list(options),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
            process.wait()


def ask(address: str, data: bytes | None = None) -> dict:
    """Request JSON."""
    with urllib.request.urlopen(address, data, timeout=300) as answer:
        return json.load(answer)


def preview(address: str, song: bytes, model: str) -> float:
    """Send a song and wait for its preview, then cancel it."""
    began = time.perf_counter()
    id_ = ask(f"{address}api/jobs?model={model}", song)["id"]
    while not (job := ask(f"{address}api/jobs/{id_}"))["preview"]:
        if job["state"] == "failed":
            raise RuntimeError(job["error"]["message"])
        time.sleep(PAUSE_SECONDS)
    took = time.perf_counter() - began
    ask(f"{address}api/jobs/{id_}/cancel", b"")
    return took


def measure(song: bytes, model: str, *options: str) -> Seconds:
    """Start a server and measure it."""
    began = time.perf_counter()
    with server(f"--model={model}", *options) as address:
        while not _listens(address):
            time.sleep(PAUSE_SECONDS)
        cold = preview(address, song, model)
        warm = preview(address, song, model)
    with server(f"--model={model}", *options) as address:
        began = time.perf_counter()
        while not _listens(address):
            time.sleep(PAUSE_SECONDS)
        ask(f"{address}api/models")  # answered once a worker has listed them
        worker = time.perf_counter() - began
    return Seconds(worker, cold, warm)


def _listens(address: str) -> bool:
    try:
        return bool(ask(f"{address}api/openapi.json"))
    except urllib.error.URLError:
        return False


def least(runs: int, song: bytes, model: str, *options: str) -> Seconds:
    """Least times of some runs, each by itself."""
    times = [measure(song, model, *options) for _ in range(runs)]
    return Seconds(*map(min, zip(*times, strict=True)))


def export(folder: Path, model: str) -> None:
    """Export a model for ``--light``."""
    pillar, name = model.split("/")
    command = [sys.executable, "-m", f"{pillar}.export", name]
    command += ["--output", str(folder / model)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)


def row(model: str, full: Seconds, light: Seconds) -> str:
    """Write a row of the table."""
    cells = " | ".join(f"{a:.1f} | {b:.1f}" for a, b in zip(full, light, strict=True))
    return f"| `{model}` | {cells} |"


def table(rows: Sequence[str], runs: int) -> str:
    """Write the table."""
    lines = [
        "# First preview in the browser",
        "",
        "Seconds from the upload of a song of 133 s to the stems of its loudest 20 s; "
        "written by `python benchmarks/first_preview.py`.",
        "",
        f"TensorFlow {version('tensorflow')}, onnxruntime {version('onnxruntime')}, "
        f"{os.cpu_count()} cores of a shared machine; minimum of {runs} runs. "
        "Worker: from the start of the server until a worker has listed its models. "
        "Cold: the song is sent as soon as the server listens. Warm: a second upload.",
        "",
        "| model | worker TensorFlow | worker light | cold TensorFlow | cold light "
        "| warm TensorFlow | warm light |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song", type=Path, nargs="?", help="a recording")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options, rows = parser.parse_args(), []
    runs, models = (1, MODELS[:1]) if options.quick else (options.runs, MODELS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.song is None:
            noise(folder / "noise.wav", SECONDS, RATE)
        song = (options.song or folder / "noise.wav").read_bytes()
        for model in models:
            export(folder, model)
            full = least(runs, song, model)
            light = least(runs, song, model, f"--light={folder}")
            costs = {"without TensorFlow": light, "with TensorFlow": full}
            turns.record(
                f"First preview of `{model}` from the start of the server",
                {name: [{"wall": cost.cold}] for name, cost in costs.items()},
            )
            rows.append(row(model, full, light))
            sys.stderr.write(f"{rows[-1]}\n")
    written = table(rows, runs)
    sys.stdout.write(written)
    if not options.quick:
        Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
