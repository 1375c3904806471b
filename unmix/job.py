"""The script ``run_train_model_on_musdb18.sh``, in Python."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import job
from common.config import ConfigError
from common.experiment import Vocabulary
from common.job import Choice, Report, Step, Words
from unmix.config import PRESETS
from unmix.openunmix.original_flags import ALIASES, SWITCHES, translate_flags

VARIABLES = "MUSDB18_ROOT_DIR", "MUSDB_PATH"
"""Variables with the corpus; the second is that of the original."""
FOLDER = "unmix/musdb18"
TARGETS = "target=vocals,drums,bass,other"
FIRST_SEED = 42
"""The authors' seed."""
MINIATURE = (
    "No corpus is named, neither as first argument nor as MUSDB18_ROOT_DIR: this "
    "trains on a miniature of synthetic music, made here in the layout of MUSDB18. Its "
    "numbers show that the program works, and no more."
)


def choose(words: Words) -> Choice:
    """Choose the published preset if there is a corpus, else the miniature."""
    root = words.root("data_root", *VARIABLES)
    # The preset for speech has its own corpus, of speech and noise.
    data = ["dataset=musdb"] if words.preset == "umxse" else []
    if not root:
        preset = words.preset or "tiny"
        lines = job.miniature(preset, MINIATURE)
        return Choice(preset, [TARGETS, *data], lines, FOLDER)
    preset = words.preset or _published(root)
    given = [TARGETS, f"data_root={root}", *data]
    return Choice(preset, given, [f"Training on MUSDB18 in {root}."], FOLDER, root)


def train(run: str, words: Words, step: Step) -> list[Step]:
    """Train once, or with several seeds."""
    count = _count(words)
    if not count or words.request.check:
        return job.one_training(run, words, step)
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    return [
        job.with_output(step, f"{run}/seed{seed}", f"train.seed={seed}")
        for seed in seeds
    ]


def evaluate(run: str, words: Words, choice: Choice) -> Iterator[Step]:
    """Keep the best seed of each target, and score the networks on the test songs."""
    if "--seeds" in words.options:
        yield Step("unmix.seeds", [run])
    root = [f"--root={choice.root}"] if choice.root else []
    options = ["--model", _model(run, words), *root, "--evaldir", f"{run}/evaluation"]
    yield Step("unmix.evaluate", options)


def report(run: str, words: Words) -> Report:
    """Name weights, scores and commands."""
    model = _model(run, words)
    files = [
        ("Weights and configuration", model),
        ("Scores", f"{run}/evaluation/summary.md"),
        ("Box plot of the scores", f"{run}/evaluation/scores.png"),
    ]
    separate = f"python -m unmix.separate FILE --model {shlex.quote(model)}"
    commands = [
        ("Curves", f"tensorboard --logdir={shlex.quote(run)}"),
        ("Separate a file", f"{separate} --output FOLDER"),
    ]
    return Report(files, commands)


def _published(root: str) -> str:
    """Return the preset of a corpus: wav files have their own row of scores.

    The network is the same.
    """
    is_wav = any(Path(root).glob("train/*/vocals.wav"))
    return "umxhq" if is_wav else "umx"


def _count(words: Words) -> int:
    """Return the number of seeds, 0 without the option."""
    text = words.options.get("--seeds", "0")
    if "--seeds" in words.options and text not in [*"123456789"]:
        raise ConfigError(
            f"--seeds is {text!r}; expected how many seeds to train, 1 to 9, as in "
            "--seeds 4"
        )
    return int(text)


def _model(run: str, words: Words) -> str:
    return f"{run}/best" if "--seeds" in words.options else run


SCRIPT = job.Script(
    name="run_train_model_on_musdb18.sh",
    vocabulary=Vocabulary("unmix.train", PRESETS, "umx", aliases=ALIASES),
    variables=VARIABLES,
    choose=choose,
    evaluate=evaluate,
    report=report,
    options={"--seeds": "how many seeds to train, 1 to 9,"},
    is_corpus=lambda word: True,
    switches=SWITCHES,
    translate=translate_flags,
    train=train,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return the exit code."""
    return job.main(SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
