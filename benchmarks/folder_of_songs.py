"""A folder of a hundred short songs in one command, beside a command for each song.

``python benchmarks/folder_of_songs.py`` writes ``folder_of_songs.md`` beside itself;
``--quick`` separates with one package and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import turns
from light_runtime import PILLARS, noise, spend

SONGS, SECONDS = 100, 3
SINGLE = 3
"""Songs that have a command of their own; more take as long each."""


def measure(folder: Path, pillar: str) -> str:
    """Separate by one package; return a row of the table."""
    songs = folder / pillar
    songs.mkdir()
    for number in range(SONGS):
        noise(songs / f"{number:03}.wav", SECONDS, PILLARS[pillar])
    words = f"{pillar}.separate", "--model", "mini", "--output", str(folder / "stems")
    whole = spend(*words, str(songs), python=sys.executable)
    stems = len(list((folder / "stems").rglob("*.wav")))
    singles = [
        spend(*words, str(song), "--overwrite", python=sys.executable)
        for song in sorted(songs.iterdir())[:SINGLE]
    ]
    answers = {
        "one command": [{"wall": whole.wall / SONGS, "cpu": whole.cpu / SONGS}],
        "a command for each": [{"wall": s.wall, "cpu": s.cpu} for s in singles],
    }
    answers["one command"] *= SINGLE
    turns.record(f"A song of {SECONDS} s out of {SONGS}, `{pillar}/mini`", answers)
    single = min(cost.wall for cost in singles)
    return (
        f"| `{pillar}/mini` | {stems} | {whole.wall:.1f} | {whole.cpu:.1f} | "
        f"{whole.wall / SONGS:.2f} | {single:.2f} | {whole.megabytes:.0f} |"
    )


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    pillars = ["unmix"] if options.quick else list(PILLARS)
    lines = [
        f"# A folder of {SONGS} songs of {SECONDS} s",
        "",
        "Written by `python benchmarks/folder_of_songs.py`; from the start of the "
        "command to its end.",
        "",
        "| model | stems | wall s | CPU s | wall s for each song | a command for one "
        "song, wall s | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for pillar in pillars:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(measure(Path(folder), pillar))
        sys.stderr.write(f"{lines[-1]}\n")
    turns.publish(["\n".join([*lines, ""])], __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
