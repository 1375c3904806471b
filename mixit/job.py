"""The script ``run_train_model_on_fuss.sh``, in Python."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import job
from common.experiment import Vocabulary
from common.job import Choice, Report, Step, Words
from mixit.config import ALIASES, PRESETS

VARIABLE = "FUSS_ROOT_DIR"
FOLDER = "mixit/fuss"
MINIATURE = (
    "FUSS_ROOT_DIR is not set: this trains on a miniature corpus of synthetic sounds, "
    "made here in the layout of FUSS. Its numbers show that the program works, and no "
    "more."
)


def choose(words: Words) -> Choice:
    """Choose the published preset if there is a corpus, else the miniature."""
    root = words.value("data_root", VARIABLE)
    if not root:
        preset = words.preset or "tiny"
        return Choice(preset, [], job.miniature(preset, MINIATURE), FOLDER)
    line = f"Training on FUSS in {root}."
    return Choice(words.preset or "fuss", [f"data_root={root}"], [line], FOLDER, root)


def evaluate(run: str, _words: Words, _choice: Choice) -> Iterator[Step]:
    """Score the run on the test split and draw one mixture."""
    options = ["--model", run, "--split", "eval", "--output", f"{run}/evaluation"]
    yield Step("mixit.evaluate", [*options, "--draw", "1"])


def report(run: str, _words: Words) -> Report:
    """Name weights, scores, the mixtures that were drawn, and commands."""
    drawn = sorted(Path(run).glob("evaluation/*/picture.png"))
    files = [
        ("Weights and configuration", run),
        ("Scores", f"{run}/evaluation/summary.md"),
    ]
    for plot in drawn:
        files += [("One mixture, separated", str(plot.parent))]
        files += [("The same, drawn", str(plot))]
    folder = shlex.quote(run)
    commands = [
        ("Curves, sounds, images", f"tensorboard --logdir={folder}"),
        (
            "Separate a file",
            f"python -m mixit.separate FILE --model {folder} --output FOLDER",
        ),
    ]
    return Report(files, commands)


SCRIPT = job.Script(
    name="run_train_model_on_fuss.sh",
    vocabulary=Vocabulary("mixit.train", PRESETS, "fuss", aliases=ALIASES),
    variables=(VARIABLE,),
    choose=choose,
    evaluate=evaluate,
    report=report,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return the exit code."""
    return job.main(SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
