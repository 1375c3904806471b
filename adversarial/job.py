"""The script ``run_train_model_on_musdb18_and_moisesdb.sh``, in Python."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from adversarial.config import PRESETS
from common import job
from common.config import ConfigError
from common.experiment import Vocabulary
from common.job import Choice, Report, Step, Words

FOLDER = "adversarial/musdb18_and_moisesdb"
SUPERVISED_ONLY = (
    "MOISESDB_ROOT_DIR is not set: there are no unpaired songs, so this is supervised "
    "only."
)
MINIATURE = (
    "MUSDB18_ROOT_DIR is not set: this trains on miniatures of synthetic music, made "
    "here in the layouts of MUSDB18 and MoisesDB. Their numbers show that the program "
    "works, and no more."
)


def choose(words: Words) -> Choice:
    """Choose the published preset if there are corpora, else the miniatures."""
    root = words.value("corpora.data_root", "MUSDB18_ROOT_DIR")
    unpaired = words.value("corpora.unpaired_root", "MOISESDB_ROOT_DIR")
    if not root and unpaired:
        raise ConfigError(
            "MOISESDB_ROOT_DIR is set and MUSDB18_ROOT_DIR is not; set it to the "
            "folder of MUSDB18, whose songs have their sources, or unset both to train "
            "on a miniature"
        )
    if not root:
        preset = words.preset or "tiny"
        return Choice(preset, [], job.miniature(preset, MINIATURE), FOLDER)
    given, lines = [f"corpora.data_root={root}"], [f"Training on MUSDB18 in {root}."]
    if unpaired:
        given.append(f"corpora.unpaired_root={unpaired}")
        lines.append(f"Unpaired songs from MoisesDB in {unpaired}.")
    elif not words.value("corpora.unpaired"):
        given.append("corpora.unpaired=none")
        lines.append(SUPERVISED_ONLY)
    return Choice(words.preset or "musdb_moisesdb", given, lines, FOLDER, root)


def evaluate(run: str, _words: Words, _choice: Choice) -> Iterator[Step]:
    """Score the run on the test songs, and separate a song."""
    yield Step("adversarial.evaluate", [run])
    song = os.environ.get("SONG") or first_test_song(run)
    options = ["--model", run, "--output", f"{run}/separated", "--overwrite"]
    yield Step("adversarial.separate", [song, *options])


def first_test_song(run: str) -> str:
    """Return the file of the first mixture of the test.

    Raises:
        ConfigError: No mixture is a file, so that there is none to separate.
    """
    # With TensorFlow, which must not stay in memory during the training.
    from adversarial import phases
    from adversarial.songs import corpus
    from common.corpora import waveforms

    config = phases.read_config(phases.locate(run).path)
    for song in corpus.list_songs(config).test:
        files = waveforms.files(corpus.mixture_of(song))
        if len(files) == 1:
            return str(files[0])
    raise ConfigError(
        "no test song has a file of its mixture; name the song to separate by SONG=FILE"
    )


def report(run: str, _words: Words) -> Report:
    """Name weights and scores of the last phase, the separated song and commands."""
    phase = "semisup" if Path(run, "semisup").is_dir() else "sup"
    files = [
        ("Weights and configuration", f"{run}/{phase}"),
        ("Scores", f"{run}/{phase}/evaluation/summary.md"),
        ("A song, separated", f"{run}/separated"),
    ]
    folder = shlex.quote(run)
    separate = f"python -m adversarial.separate FILE --model {folder} --output FOLDER"
    commands = [
        ("Curves", f"tensorboard --logdir={folder}"),
        ("Separate a file", separate),
    ]
    return Report(files, commands)


SCRIPT = job.Script(
    name="run_train_model_on_musdb18_and_moisesdb.sh",
    vocabulary=Vocabulary("adversarial.train", PRESETS, "musdb_moisesdb"),
    variables=("MUSDB18_ROOT_DIR", "MOISESDB_ROOT_DIR", "SONG"),
    choose=choose,
    evaluate=evaluate,
    report=report,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return the exit code."""
    return job.main(SCRIPT, argv)


if __name__ == "__main__":
    sys.exit(main())
