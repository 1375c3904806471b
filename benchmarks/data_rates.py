"""Rates of data: clips and records written, examples read, and what training waits for.

``python benchmarks/data_rates.py`` writes ``data_rates.md`` beside itself; ``--quick``
takes small networks and few clips and writes nothing. Where Apache Beam is installed,
its DirectRunner writes the same clips and records once more.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RATE, SECONDS = 16000, 10.0
HOURS = 1600
"""Length of the clips of YFCC100m that MixIT trains on."""
SOURCES = 4
ROWS = {
    "mixit": "fuss",
    "unmix": "umxhq",
    "adversarial sup": "musdb_moisesdb",
    "adversarial semisup": "musdb_moisesdb",
    "clustering": "dpcl",
}
"""Preset of each package; the adversarial training has two phases."""
FILMS, FILM_SECONDS = 5, 60


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little work, no file")
    parser.add_argument("--training", metavar="ROW", help=argparse.SUPPRESS)
    parser.add_argument("--writing", type=int, metavar="CLIPS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.training:
        return _answer(_training(options.training, options.quick))
    if options.writing:
        return _answer(_writing(options.writing))
    quick = ["--quick"] if options.quick else []
    written = _ask("--writing", "20" if options.quick else "150")
    rows = {row: _ask("--training", row, *quick) for row in ROWS}
    text = _page(written, rows, options.quick)
    sys.stdout.write(text)
    if not options.quick:
        (HERE / "data_rates.md").write_text(text, encoding="utf-8")
    return None


def _answer(values: Any) -> None:
    sys.stdout.write(f"answer {json.dumps(values)}\n")


def _ask(*words: str) -> Any:
    """Measure in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE.parent),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, str(Path(__file__)), *words]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("answer ")]
    return json.loads(lines[-1].removeprefix("answer "))


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, with those of programs that it started and that ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

    def cpu() -> float:
        used = [resource.getrusage(each) for each in who]
        return sum(each.ru_utime + each.ru_stime for each in used)

    wall, before = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - wall, cpu() - before


def _writing(clips: int) -> list[list[Any]]:
    """Write a corpus of clips and its records, by threads and by Beam; time each."""
    folder = Path(tempfile.mkdtemp(prefix="data-rates-"))
    try:
        return [*_clips(folder, clips), *_records(folder, clips)]
    finally:
        shutil.rmtree(folder)


def _clips(folder: Path, clips: int) -> list[list[Any]]:
    from mixit.yfcc import __main__ as yfcc

    if not shutil.which("ffmpeg"):
        return []
    _films(folder / "videos")
    rows = [
        f"v{number % FILMS}.mp4,{start},{start + SECONDS},0"
        for number in range(clips)
        for start in [(number // FILMS) * 1.25 % (FILM_SECONDS - SECONDS)]
    ]
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    words = ["--videos", str(folder / "videos"), "--train", str(folder / "clips.csv")]
    result = []
    for name, more in _ways(
        one_thread=["--jobs", "1"], two_threads=["--jobs", "2"]
    ).items():
        output = str(folder / f"clips {name}")
        command = [*words, "--output", output, *more]
        count = len(set(rows))
        spent = _spent(lambda command=command: _run(yfcc.main, command))
        result.append(["clips of mp4 videos", name, count, *spent])
    return result


def _films(folder: Path) -> None:
    """Make videos with a sound of AAC at 44.1 kHz in stereo."""
    folder.mkdir()
    for number in range(FILMS):
        picture = f"testsrc=size=64x48:rate=5:duration={FILM_SECONDS}"
        sound = f"anoisesrc=r=44100:d={FILM_SECONDS}:a=0.1:seed={number}"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture]
        command += ["-f", "lavfi", "-i", sound, "-c:v", "mpeg4", "-c:a", "aac"]
        command += ["-ac", "2", "-b:a", "96k", str(folder / f"v{number}.mp4")]
        subprocess.run(command, check=True)


def _records(folder: Path, clips: int) -> list[list[Any]]:
    from mixit import write_records

    corpora = {
        "records of single clips (YFCC100m)": (1, clips),
        "records of mixtures (FUSS)": (SOURCES, clips // 2),
    }
    result = []
    for what, (sources, count) in corpora.items():
        root = folder / f"corpus{sources}"
        _noise(root, sources, count)
        words = ["--data", str(root), "--splits", "train"]
        for name, more in _ways(threads=[]).items():
            output = str(folder / f"{what} {name}")
            command = [*words, "--output", output, *more]
            spent = _spent(lambda command=command: _run(write_records.main, command))
            result.append([what, name, count, *spent])
            shutil.rmtree(output)
    return result


def _ways(**threads: list[str]) -> dict[str, list[str]]:
    """Options of the ways to write, by name."""
    ways = {name.replace("_", " "): more for name, more in threads.items()}
    if importlib.util.find_spec("apache_beam"):
        mode = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
        ways["Beam, 2 processes"] = ["--beam", "--runner=DirectRunner", *mode]
    return ways


def _run(main: Callable[[list[str]], int], words: list[str]) -> None:
    with Path(os.devnull).open("w") as nothing:
        printed, sys.stdout = sys.stdout, nothing
        try:
            code = main(words)
        finally:
            sys.stdout = printed
    if code:
        raise SystemExit(f"{' '.join(words)} ended with code {code}")


def _noise(root: Path, sources: int, count: int, split: str = "train") -> None:
    """Write noise in the layout of FUSS."""
    from common.corpora import fuss

    rng = np.random.default_rng(0)
    shape = (sources, round(SECONDS * RATE))
    waves = 0.1 * rng.standard_normal(shape, np.float32)
    for folder in (root, root / split):
        folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        rolled = np.roll(waves, 97 * index, axis=1)
        (root / f"{split}/example{index:05d}_sources").mkdir(exist_ok=True)
        lines.append(fuss.write_example(root, split, index, rolled, RATE))
    fuss.write_list(root, split, lines)


def _training(row: str, quick: bool) -> dict[str, float]:
    """Time the reader alone, steps on one batch, and steps on what is read."""
    import tensorflow as tf

    from common.training import distribution

    distribution.prepare(1)
    package, _, phase = row.partition(" ")
    folder = Path(tempfile.mkdtemp(prefix="data-rates-"))
    os.environ["SEPARATION_CACHE"] = str(folder / "cache")
    try:
        preset = "tiny" if quick else ROWS[row]
        config, build = JOBS[package](folder, preset, phase)
        strategy = distribution.choose("one")
        with strategy.scope():
            job = build(config, strategy)
        step = tf.function(job.model.train_step)
        iterator = iter(job.train(0))
        batch = next(iterator)
        examples = int(next(iter(tf.nest.flatten(batch))).shape[0])
        _wait_for(step(batch))
        seconds = 2.0 if quick else 30.0
        read = _times(lambda: next(iterator), seconds / 3)
        waits: list[float] = []

        def trained() -> None:
            begin = time.perf_counter()
            drawn = next(iterator)
            waits.append(time.perf_counter() - begin)
            _wait_for(step(drawn))

        whole = _times(trained, seconds)
        same = _times(lambda: _wait_for(step(batch)), seconds)
        return {
            "examples": examples,
            "read": float(np.mean(read)),
            "with data": float(np.mean(whole)),
            "same batch": float(np.mean(same)),
            "wait": float(np.sum(waits[-len(whole) :]) / np.sum(whole)),
        }
    finally:
        shutil.rmtree(folder)


def _wait_for(result: Any) -> None:
    for value in result.values():
        float(value)


def _times(work: Callable[[], Any], seconds: float) -> list[float]:
    """Time the work again and again, without the first quarter: a buffer is full."""
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return times[len(times) // 4 :]


def _mixit(folder: Path, preset: str, phase: str) -> tuple[Any, Any]:
    from mixit import config, train

    for split, count in (("train", 40), ("validation", 4)):
        _noise(folder / "fuss", SOURCES, count, split)
    chosen = config.PRESETS[preset]
    # Without it a step takes 12 GB.
    chosen = replace(
        chosen,
        data_root=str(folder / "fuss"),
        gradient_checkpointing=True,
        resample=True,
    )
    return chosen, train.build


def _unmix(folder: Path, preset: str, phase: str) -> tuple[Any, Any]:
    from common.synthetic import miniature
    from unmix import config, train

    root = miniature.WRITERS["musdb"](folder / "musdb", seconds=20.0, train=6, test=1)
    chosen = config.resolved(replace(config.PRESETS[preset], data_root=str(root)))
    return replace(chosen, target=("vocals",), output=str(folder)), train.build


def _adversarial(folder: Path, preset: str, phase: str) -> tuple[Any, Any]:
    from adversarial import config, phases, train
    from common.synthetic import miniature

    options = {"seconds": 20.0, "sample_rate": 44100}
    paired = miniature.WRITERS["musdb"](folder / "musdb", train=6, test=2, **options)
    others = miniature.WRITERS["moisesdb"](folder / "moisesdb", songs=6, **options)
    chosen = config.PRESETS[preset]
    corpora = replace(chosen.corpora, data_root=str(paired), unpaired_root=str(others))
    chosen = replace(chosen, corpora=corpora, output=str(folder / "run"))
    return phases.part(chosen, phase), train.build


def _clustering(folder: Path, preset: str, phase: str) -> tuple[Any, Any]:
    from clustering import presets, train
    from common.synthetic import miniature

    chosen = presets.PRESETS[preset]
    root = miniature.WRITERS["wsj0_2mix"](
        folder / "wsj0", sample_rate=chosen.sample_rate
    )
    return replace(chosen, data_root=str(root)), train.build


JOBS = {
    "mixit": _mixit,
    "unmix": _unmix,
    "adversarial": _adversarial,
    "clustering": _clustering,
}


def _page(
    written: list[list[Any]], rows: dict[str, dict[str, float]], quick: bool
) -> str:
    """Write the page in Markdown."""
    clips = round(HOURS * 3600 / SECONDS)
    lines = [
        "# Rates of data",
        "",
        "Written by `python benchmarks/data_rates.py`: TensorFlow "
        f"{version('tensorflow')}, {os.cpu_count()} cores of a shared machine, so CPU "
        "seconds are the fairer measure. "
        f"Clips last {SECONDS:g} s at {RATE} Hz.",
        "",
        "## Writing",
        "",
        "A core is one second of CPU for each second, with that of ffmpeg and of the "
        f"workers; Beam includes the start of its workers. {clips:,} clips are the "
        f"{HOURS:,} hours of YFCC100m.",
        "",
        "| what | by | clips | wall s | CPU s | clips/s and core | "
        f"hours of a core for {clips:,} |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, way, count, wall, cpu in written:
        rate = count / cpu
        lines.append(
            f"| {what} | {way} | {count} | {wall:.1f} | {cpu:.1f} | {rate:.1f} "
            f"| {clips / rate / 3600:.1f} |"
        )
    return "\n".join(lines + (_readers(rows, quick) if rows else [])) + "\n"


def _readers(rows: dict[str, dict[str, float]], quick: bool) -> list[str]:
    """Write the section on reading and training in Markdown."""
    lines = [
        "",
        "## Reading and training",
        "",
        "Synthetic corpora, the segment and batch of the preset, tf.data as in "
        "training; the reader alone has both cores. The share of waiting is the time "
        "in which a training step had no batch yet. What data cost is the difference "
        "between steps on what is read and steps on one batch, which includes the CPU "
        "that reader and step share.",
        "",
        "| training | preset | examples a step | reader alone, examples/s | steps on "
        "one batch, examples/s | with data, examples/s | reader / training | waiting "
        "for data | cost of data |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, got in rows.items():
        count = got["examples"]
        read, same, real = (count / got[k] for k in ("read", "same batch", "with data"))
        cost = 1 - got["same batch"] / got["with data"]
        preset = "tiny" if quick else ROWS[row]
        lines.append(
            f"| {row} | `{preset}` | {count} | {read:.1f} | {same:.2f} | {real:.2f} "
            f"| {read / same:.0f} | {got['wait']:.2%} | {cost:.1%} |"
        )
    return lines


if __name__ == "__main__":
    main()
