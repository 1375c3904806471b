"""Measure folders: ``python -m common.evaluation.bss_eval REFERENCES ESTIMATES``.

Each folder holds a sound file for every source; files of equal names without suffix
belong together, and a file named mixture is left out. The lengths may differ by less
than a second: estimates are then trimmed or filled up with zeros, as by museval.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import audio
from common.corpora import sound_files
from common.errors import exit_code
from common.evaluation.bss_eval import WINDOWED, MeasureError, Options, Ratios, evaluate
from common.evaluation.table import markdown
from common.files import user_path

PROGRAM = "common.evaluation.bss_eval"
MIXTURE = "mixture"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure estimates against references by BSS Eval; return the exit code."""
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__)
    add = parser.add_argument
    add("references", type=user_path, metavar="REFERENCES", help="folder of stems")
    add("estimates", type=user_path, metavar="ESTIMATES", help="folder of stems")
    add(
        "--mode",
        choices=["v3", "v4"],
        default="v4",
        help="distortion filters for each window (v3) or for the whole sound (v4, the "
        "default)",
    )
    add(
        "--window",
        type=float,
        metavar="S",
        help="length of a window in seconds; 0: one for the whole sound (default: 1 in "
        "v4, 0 in v3)",
    )
    add("--hop", type=float, metavar="S", help="seconds between windows (default: S)")
    add(
        "--sources",
        action="store_true",
        help="allow a filter on the sources, as bss_eval_sources does (default: as "
        "bss_eval_images)",
    )
    add(
        "--permute",
        action="store_true",
        help="find the order of the estimates, whatever their names",
    )
    about = "print the scores of all windows as JSON instead of the medians"
    add("--json", action="store_true", help=about)
    options = parser.parse_args(argv)
    return exit_code(PROGRAM, lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    references, estimates = _files(options.references), _files(options.estimates)
    if not options.permute:
        estimates = _named_alike(references, estimates, options)
    names = list(references), list(estimates)
    waves, rate = _read([*references.values()])
    others, other_rate = _read([*estimates.values()])
    if other_rate != rate:
        raise MeasureError(
            f"the references are at {rate} Hz and the estimates at {other_rate} Hz; "
            "resample one of them"
        )
    others = [_fitted(wave, waves[0].shape[1], rate) for wave in others]
    chosen = _options(options, rate)
    result = _described(evaluate(waves, others, chosen), names, chosen, rate)
    sys.stdout.write(json.dumps(result) + "\n" if options.json else _table(result))
    return 0


def _files(folder: Path) -> dict[str, Path]:
    """List the sound files of a folder by their names."""
    if not folder.is_dir():
        raise MeasureError(f"{folder} is not a folder; name one that holds stems")
    files: dict[str, Path] = {}
    for file in sound_files.sounds(folder, audio.SUFFIXES):
        if file.stem == MIXTURE:
            continue
        if file.stem in files:
            raise MeasureError(
                f"{folder} holds {files[file.stem].name} and {file.name}; leave one"
            )
        files[file.stem] = file
    if not files:
        raise MeasureError(f"{folder} holds no stem; name a folder of sound files")
    return files


def _named_alike(
    references: dict[str, Path], estimates: dict[str, Path], options: argparse.Namespace
) -> dict[str, Path]:
    """Put the estimates in the order of the references."""
    for folder, names in (
        (options.estimates, references.keys() - estimates.keys()),
        (options.references, estimates.keys() - references.keys()),
    ):
        if names:
            raise MeasureError(
                f"{folder} lacks {', '.join(sorted(names))}, which the other folder "
                "has; name the files alike, or give --permute"
            )
    return {name: estimates[name] for name in references}


def _read(files: Sequence[Path]) -> tuple[list[np.ndarray], int]:
    """Read sounds of one rate and number of channels, trimmed to the shortest."""
    waves, rates = zip(*map(audio.read, files), strict=True)
    for file, wave, rate in zip(files, waves, rates, strict=True):
        if (len(wave), rate) != (len(waves[0]), rates[0]):
            raise MeasureError(
                f"{file} has {len(wave)} channels at {rate} Hz and {files[0].name} "
                f"{len(waves[0])} at {rates[0]} Hz; expected stems of one form"
            )
    samples = [wave.shape[1] for wave in waves]
    if max(samples) - min(samples) >= rates[0]:
        raise MeasureError(
            f"the sounds in {files[0].parent} have {min(samples)} to {max(samples)} "
            "samples; expected lengths that differ by less than a second"
        )
    return [wave[:, : min(samples)] for wave in waves], rates[0]


def _fitted(wave: np.ndarray, samples: int, rate: int) -> np.ndarray:
    """Trim an estimate to the length of the references, or fill it up with zeros."""
    if abs(wave.shape[1] - samples) >= rate:
        raise MeasureError(
            f"the estimates have {wave.shape[1]} samples and the references {samples}; "
            "expected lengths that differ by less than a second"
        )
    missing = max(0, samples - wave.shape[1])
    return np.pad(wave, [(0, 0), (0, missing)]) if missing else wave[:, :samples]


def _options(options: argparse.Namespace, rate: int) -> Options:
    """Convert seconds to samples, rounded down as in museval."""
    seconds = options.window
    if seconds is None:
        seconds = 1.0 if options.mode == "v4" else 0.0
    is_hop = options.hop is None or 0 < options.hop < math.inf
    if not (0 <= seconds < math.inf and is_hop):
        raise MeasureError(
            f"--window is {seconds:g} s and --hop {options.hop} s; expected a window "
            "of 0 s (the whole sound) or more and a hop above 0 s, both finite"
        )
    window = math.floor(seconds * rate) if seconds else math.inf
    hop = window if options.hop is None else math.floor(options.hop * rate)
    return Options(
        options.mode, window, hop, images=not options.sources, permute=options.permute
    )


def _described(
    ratios: Ratios, names: tuple[list[str], list[str]], options: Options, rate: int
) -> dict[str, Any]:
    """Arrange ratios by source for JSON, with None for NaN and infinity.

    The frames of a source have the form of museval's.
    """
    window, hop = (
        value / rate if value is not None and math.isfinite(value) else None
        for value in (options.window, options.hop)
    )
    by_measure = dict(zip(WINDOWED, ratios, strict=False))
    targets = []
    for number, name in enumerate(names[0]):
        values = {measure: ratio[number] for measure, ratio in by_measure.items()}
        frames = [
            {
                "time": index * (hop or 0.0),
                "duration": window,
                "metrics": {
                    measure: _finite(row[index]) for measure, row in values.items()
                },
            }
            for index in range(ratios.sdr.shape[1])
        ]
        order = [names[1][index] for index in ratios.order[number]]
        targets.append(
            {
                "name": name,
                "estimates": list(dict.fromkeys(order)),
                "median": {measure: _median(row) for measure, row in values.items()},
                "frames": frames,
            }
        )
    return {
        "mode": options.mode,
        "images": options.images,
        "sample_rate": rate,
        "window_seconds": window,
        "hop_seconds": hop,
        "targets": targets,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _table(result: dict[str, Any]) -> str:
    """Format the medians over the windows with a finite ratio as a table."""
    head = ["source", *WINDOWED]
    rows = [
        [target["name"], *(_cell(target["median"][name]) for name in WINDOWED)]
        for target in result["targets"]
    ]
    return markdown(head, rows)


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
