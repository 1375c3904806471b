"""BSS Eval 4 of a song, by this suite and by museval: time, memory and difference.

``python benchmarks/bss_eval.py`` writes ``bss_eval.md`` beside itself: four stems of a
stereo song of four minutes, each program on one core in a process of its own. The song
is synthetic; ``--recordings FOLDER`` makes it of the sound files in a folder instead.
``--seconds 10`` takes a short one, and ``--quick`` as well; then nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import turns

RATE = 44100
SECONDS = 240
QUICK_SECONDS = 10
STEMS = ("bass", "drums", "other", "vocals")
MEASURES = ("SDR", "ISR", "SIR", "SAR")
PROGRAMS = {
    "suite": "`bss_eval.evaluate`",
    "command": "`python -m common.evaluation.bss_eval`, with reading",
    "museval": "`museval.evaluate`",
}
ONE_CORE = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


def write_song(folder: Path, seconds: float, recordings: Path | None) -> None:
    """Write references of 16 bits, and what a separator might make of them."""
    from common import audio

    samples, rng = round(seconds * RATE), np.random.default_rng(0)
    stems = [_stem(rng, samples, recordings, n) for n in range(len(STEMS))]
    for name, one, other in zip(STEMS, stems, stems[1:] + stems[:1], strict=True):
        made = one + 0.1 * other
        made[:, 1:] += 0.3 * one[:, :-1]
        made += 0.003 * rng.standard_normal(made.shape, dtype=np.float32)
        for part, wave, form in (
            ("references", one, "wav16"),
            ("estimates", made, "wav"),
        ):
            (folder / part).mkdir(exist_ok=True)
            audio.write(folder / part / f"{name}.wav", wave, RATE, form)


def _stem(
    rng: np.random.Generator, samples: int, recordings: Path | None, number: int
) -> np.ndarray:
    """Make a stem, float32 [2, samples]: coloured noise, or recordings repeated."""
    from common import audio
    from common.corpora.sound_files import sounds

    if recordings:
        files = sounds(recordings, audio.SUFFIXES)
        wave, _ = audio.read(files[number % len(files)])
        return np.stack([np.resize(wave[0], samples), np.resize(wave[-1], samples)])
    wave = 0.03 * rng.standard_normal([2, samples], dtype=np.float32)
    wave[:, 1:] += 0.9 * wave[:, :-1]
    wave[1] += 0.5 * wave[0]
    return wave


def measure(program: str, folder: Path) -> dict[str, float]:
    """Measure the song by a program; keep its ratios and return what it took."""
    if program == "command":
        from common.evaluation.bss_eval import __main__ as command

        begin = time.perf_counter(), time.process_time()
        words = [str(folder / part) for part in ("references", "estimates")]
        with contextlib.redirect_stdout(io.StringIO()) as text:
            command.main([*words, "--json"])
        spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
        ratios = _ratios(json.loads(text.getvalue())["targets"])
    else:
        evaluate = _by_museval if program == "museval" else _by_suite
        song = [_read(folder / part) for part in ("references", "estimates")]
        begin = time.perf_counter(), time.process_time()
        ratios = evaluate(*song)
        spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
    np.save(folder / f"{program}.npy", ratios)
    return {"wall": spent[0], "cpu": spent[1], "peak": turns.megabytes("VmHWM")}


def _read(folder: Path) -> list[np.ndarray]:
    from common import audio

    return [audio.read(folder / f"{name}.wav")[0] for name in STEMS]


def _by_suite(references: list[np.ndarray], estimates: list[np.ndarray]) -> np.ndarray:
    from common.evaluation import bss_eval

    options = bss_eval.Options(window=RATE, hop=RATE)
    return np.stack(bss_eval.evaluate(references, estimates, options)[:4])


def _by_museval(
    references: list[np.ndarray], estimates: list[np.ndarray]
) -> np.ndarray:
    import museval

    song = ([wave.T for wave in waves] for waves in (references, estimates))
    return np.stack(museval.evaluate(*song, win=RATE, hop=RATE))


def _ratios(targets: list[dict]) -> np.ndarray:
    """Arrange the answer of the command as [measures, sources, seconds]."""
    rows = [
        [[frame["metrics"][name] for frame in target["frames"]] for target in targets]
        for name in MEASURES
    ]
    return np.array(rows, np.float64)


def table(
    seconds: float,
    results: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, float],
    song: str,
) -> str:
    """Write the table in Markdown."""
    packages = ", ".join(f"{n} {version(n)}" for n in ("numpy", "scipy", "museval"))
    lines = [
        "# BSS Eval 4 of one song",
        "",
        f"{len(STEMS)} stereo stems of {seconds:g} s at 44.1 kHz ({song}), windows of "
        "1 s, filters of 512 samples; written by `python benchmarks/bss_eval.py`.",
        "",
        f"{packages}, Python {platform.python_version()}; {_processor()}, one core of "
        f"{os.cpu_count()} of a shared machine, so CPU seconds are the fairer measure; "
        f"{dt.date.today():%Y-%m-%d}. Memory is the peak of the process with the "
        "sounds, which are float32.",
        "",
        "| program | CPU s | wall s | peak MB | largest difference from museval dB |",
        "|---|---|---|---|---|",
    ]
    for name, row in results.items():
        lines.append(
            f"| {PROGRAMS[name]} | {row['cpu']:.1f} | {row['wall']:.1f} "
            f"| {row['peak']:.0f} | {differences[name]:.1e} |"
        )
    ours, theirs = results["suite"], results["museval"]
    cpu, peak = (theirs[key] / ours[key] for key in ("cpu", "peak"))
    lines.append(f"| museval / suite | {cpu:.1f} | | {peak:.1f} | |")
    return "\n".join([*lines, ""])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> int:
    """Measure in processes of their own and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--recordings", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        program, folder = arguments.measure
        sys.stdout.write(json.dumps(measure(program, Path(folder))) + "\n")
        return 0
    sys.path.insert(0, str(turns.ROOT))
    if arguments.quick:
        arguments.seconds = QUICK_SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_song(folder, arguments.seconds, arguments.recordings)
        results = {program: _ask(program, folder) for program in PROGRAMS}
        ratios = {program: np.load(folder / f"{program}.npy") for program in PROGRAMS}
    turns.record(
        f"BSS Eval 4 of {arguments.seconds:g} s",
        {PROGRAMS[program]: [spent] for program, spent in results.items()},
    )
    differences = {
        program: float(np.nanmax(np.abs(ratio - ratios["museval"])))
        for program, ratio in ratios.items()
    }
    song = "recordings" if arguments.recordings else "synthetic"
    written = table(arguments.seconds, results, differences, song)
    sys.stdout.write(written)
    if arguments.seconds == SECONDS and not arguments.recordings:
        Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
    return 0


def _ask(program: str, folder: Path) -> dict[str, float]:
    """Measure in another process, which ends with its answer."""
    paths = [str(turns.ROOT), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, __file__, "--measure", program, str(folder)],
        env={**os.environ, **ONE_CORE, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
