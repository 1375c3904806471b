"""The script ``run_train_model_on_wsj0_2mix.sh``, in Python."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from clustering.foreign.experiment_file import Experiment, pop_option
from clustering.presets import PRESETS
from common import job
from common.config import ConfigError
from common.errors import exit_code
from common.experiment import Vocabulary
from common.job import Choice, Report, Step, Words

VARIABLES = {"WSJ0_2MIX_ROOT_DIR": "wsj0_2mix", "WHAM_ROOT_DIR": "wham"}
"""Corpora by the variables with their folders."""
RATE = "sample_rate=8000"
"""The sample rate of the publication of deep clustering."""


def choose(words: Words) -> Choice:
    """Choose the published preset if there is a corpus, else the miniature."""
    corpus = _corpus()
    dataset = words.value("dataset") or corpus
    root = words.root("data_root", *VARIABLES)
    folder = f"clustering/{corpus}"
    if not root:
        preset = words.preset or "tiny"
        lines = job.miniature(preset, _miniature(dataset))
        return Choice(preset, [f"dataset={dataset}"], lines, folder)
    arguments = [f"dataset={dataset}", f"data_root={root}", RATE]
    line = f"Training on {dataset} in {root}."
    return Choice(words.preset or "dpcl", arguments, [line], folder, root)


def choose_by_file(experiment: Experiment, words: Words) -> Choice:
    """Choose the training of an experiment file, with the corpus of the arguments."""
    path, config = experiment.path, experiment.config
    named = words.root("data_root") or (
        "" if config.data_root else words.root("data_root", *VARIABLES)
    )
    arguments = ["-p", str(path), *([f"data_root={named}"] if named else [])]
    root = named or config.data_root or ""
    lines = [f"Training on {config.dataset} by {path}."]
    return Choice(path.stem, arguments, lines, f"clustering/{path.stem}", root)


def evaluate(run: str, _words: Words, _choice: Choice) -> Iterator[Step]:
    """Score the run on the test split."""
    yield Step("clustering.evaluate", [run])


def report(run: str, _words: Words) -> Report:
    """Name weights, scores and commands."""
    files = [
        ("Weights and configuration", run),
        ("Scores", f"{run}/evaluation/summary.md"),
    ]
    folder, runs = shlex.quote(run), shlex.quote(str(Path(run).parent))
    separate = f"python -m clustering.separate FILE --model {folder} --output FOLDER"
    commands = [
        ("Curves", f"tensorboard --logdir={folder}"),
        ("Compare with other runs", f"python -m clustering.analyze {runs}"),
        ("Separate a file", separate),
    ]
    return Report(files, commands)


def is_corpus(word: str) -> bool:
    """Whether a word names a folder: it has a slash, or the folder exists."""
    return "/" in word or Path(word).is_dir()


def _corpus() -> str:
    """Return the corpus that the environment names."""
    named = [name for name in VARIABLES if os.environ.get(name)]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} are both set; unset one of them")
    return VARIABLES[named[0]] if named else "wsj0_2mix"


def _miniature(dataset: str) -> str:
    return (
        "No corpus is named, neither as first argument nor as WSJ0_2MIX_ROOT_DIR: this "
        "trains on a miniature of synthetic speakers, made here in the layout of "
        f"{dataset}. Its numbers show that the program works, and no more."
    )


SCRIPT = job.Script(
    name="run_train_model_on_wsj0_2mix.sh",
    vocabulary=Vocabulary("clustering.train", PRESETS, "dpcl"),
    variables=tuple(VARIABLES),
    choose=choose,
    evaluate=evaluate,
    report=report,
    is_corpus=is_corpus,
)


def script(arguments: Sequence[str]) -> job.Script:
    """Return the script, whose configuration an experiment file may give (``-p``)."""
    experiment, _ = pop_option(arguments)
    if experiment is None:
        return SCRIPT
    name = experiment.path.stem
    vocabulary = Vocabulary("clustering.train", {name: experiment.config}, name)
    return replace(
        SCRIPT,
        vocabulary=vocabulary,
        choose=partial(choose_by_file, experiment),
        options={"-p": "one experiment file (.yml)"},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(SCRIPT.name, lambda: job.run(script(arguments), arguments))


if __name__ == "__main__":
    sys.exit(main())
