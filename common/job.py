"""The work of a script ``run_train_model_on_*.sh``: train, evaluate, report the paths.

A package describes its script by a :class:`Script` in its module ``job``. The arguments
of the script are those of the training, read by :mod:`common.experiment`, and override
environment variables. Each step runs in its own process, so that it starts with all
memory free.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import common
from common import child_processes, experiment
from common.config import ConfigError
from common.errors import exit_code
from common.experiment import Request, Vocabulary
from common.training import cluster, run_folder

REPOSITORY = Path(common.__file__).parents[1]
SHARED_VARIABLES = ("ROOT_DIR", "SEPARATION_CACHE", "LANE")
"""Environment variables that other hosts need besides those of the script."""
LABEL_WIDTH = 27
LINE_WIDTH = 90


class Step(NamedTuple):
    """One process of a job: a module that is run, and its arguments."""

    module: str
    arguments: Sequence[str]


class Choice(NamedTuple):
    """The training that a script runs.

    Attributes:
        preset: Name of the preset.
        words: Further words of the training, which name the data.
        lines: Lines to print about it.
        folder: Folder of such runs below ``ROOT_DIR``.
        root: Folder of the corpus; empty if none is named.
    """

    preset: str
    words: Sequence[str]
    lines: Sequence[str]
    folder: str
    root: str = ""


@dataclass(frozen=True)
class Words:
    """The arguments of a script.

    Attributes:
        arguments: The arguments of the training.
        request: The request that the training reads in them.
        corpus: Folder of the corpus that one of the first words names, or None.
        options: Values of the script's own options by name, such as ``"--seeds"``.
    """

    arguments: Sequence[str]
    request: Request
    corpus: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def preset(self) -> str | None:
        """Name of the preset, None if there is none."""
        return self.request.preset

    def value(self, key: str, *variables: str) -> str:
        """Return the value of a key by the arguments, else of a variable.

        Args:
            key: Dotted key of the configuration.
            *variables: Names of environment variables; the first one that is set is
                used.

        Returns:
            The value; empty without any.
        """
        named = self.request.updates.get(key)
        if named is not None:
            return str(named)
        return next(filter(None, map(os.environ.get, variables)), "")

    def root(self, key: str, *variables: str) -> str:
        """Return the folder of the corpus: of the key, the first words or a variable.

        Args:
            key: Dotted key of the configuration.
            *variables: Names of environment variables; the first one that is set is
                used.
        """
        return self.value(key) or self.corpus or self.value(key, *variables)


class Report(NamedTuple):
    """Paths of the results, and commands for them, as labelled lines.

    Attributes:
        files: Paths by label, in order.
        commands: Commands by label.
    """

    files: Sequence[tuple[str, str]]
    commands: Sequence[tuple[str, str]]


def one_training(folder: str, _words: Words, step: Step) -> list[Step]:
    """Return the training with its run folder."""
    return [with_output(step, folder)]


def with_output(step: Step, folder: str, *more: str) -> Step:
    """Add the run folder to a training, and further words after it."""
    return Step(step.module, [*step.arguments, f"output={folder}", *more])


@dataclass(frozen=True)
class Script:
    """Description of a script by its package.

    Attributes:
        name: File name in the repository.
        vocabulary: Presets, keys and flags of the training.
        variables: Environment variables that affect the run.
        choose: Returns the training.
        evaluate: Yields the steps after the trainings of a run folder. Each step runs
            before the next one is made.
        report: Returns the paths of the results of a run folder.
        options: The script's own options, each with a description of its value.
        is_corpus: Whether a first word that is neither a preset nor a file is the
            corpus.
        switches: The training's own flags that are not keys and have no value.
        translate: Turns the training's own flags into words of the vocabulary.
        train: Returns the trainings, from one without its run folder.
    """

    name: str
    vocabulary: Vocabulary[Any]
    variables: Sequence[str]
    choose: Callable[[Words], Choice]
    evaluate: Callable[[str, Words, Choice], Iterable[Step]]
    report: Callable[[str, Words], Report]
    options: dict[str, str] = field(default_factory=dict)
    is_corpus: Callable[[str], bool] = lambda word: False
    switches: Sequence[str] = ()
    translate: Callable[[Sequence[str]], list[str]] = list
    train: Callable[[str, Words, Step], list[Step]] = one_training

    @property
    def path(self) -> Path:
        """The script."""
        return REPOSITORY / self.name


def main(script: Script, argv: Sequence[str] | None = None) -> int:
    """Run a script; return the exit code, which is that of a failed step."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(script.name, lambda: run(script, arguments))


def read(script: Script, arguments: Sequence[str]) -> Words:
    """Read the arguments of a script.

    Raises:
        ConfigError: The training would refuse them.
    """
    options: dict[str, str] = {}
    rest = list(arguments)
    for name, expected in {"--hosts": "one file of hosts", **script.options}.items():
        value, rest = experiment.take_option(rest, name, expected)
        if value is not None:
            options[name] = value
    corpus, presets, rest = _take_first_words(script, rest)
    words = script.translate(rest)
    keys = [word for word in words if word not in script.switches]
    request = experiment.parse(script.vocabulary, [*presets, *keys])
    return Words(words, request, corpus, options)


def miniature(preset: str, text: str) -> list[str]:
    """Return the lines about the miniature for presets that train on it.

    >>> miniature("fuss", "no corpus is named")
    []
    """
    return textwrap.wrap(text, LINE_WIDTH) if preset.startswith("tiny") else []


def _take_first_words(
    script: Script, arguments: Sequence[str]
) -> tuple[str | None, list[str], list[str]]:
    """Read the words before the first key or flag.

    Returns:
        The folder of the corpus, the presets, and all other words.
    """
    corpus, presets, others, rest = None, [], [], list(arguments)
    while rest and not rest[0].startswith("-") and "=" not in rest[0]:
        word = rest.pop(0)
        if word in script.vocabulary.presets:
            presets.append(word)
        elif word == "print_config" or experiment.is_file(word):
            others.append(word)
        elif word != "with" and script.is_corpus(word):
            corpus = word
        elif word != "with":
            others.append(word)
    return corpus, presets, others + rest


def run(script: Script, arguments: Sequence[str]) -> int:
    """Run a script with its arguments.

    Returns:
        The exit code, which is that of a failed step.

    Raises:
        ConfigError: The arguments or the environment are not understood.
    """
    words = read(script, arguments)
    choice = script.choose(words)
    if words.request.usage:
        _say(*_usage(script), "")
    if words.request.usage or words.request.show:
        return run_step(_training(script, words, choice))
    hosts = words.options.get("--hosts")
    folder = _folder(words, choice, None if hosts else _join_cluster())
    steps = script.train(folder, words, _training(script, words, choice))
    if os.environ.get(cluster.SIGNALS_VARIABLE) == "stdin":
        child_processes.listen()  # one of several hosts, whose launcher prints
    elif cluster.is_chief():
        _say(*choice.lines, f"Run folder: {folder}")
        _say("After an interruption this command continues from the last checkpoint:")
        _say(f"  {_again(script, folder, arguments)}")
    if hosts:
        return _launch(script, hosts, arguments, folder)
    for step in steps:
        if code := run_step(step):
            return code
    if words.request.check or not cluster.is_chief():
        return 0
    return _finish(script, words, choice, folder)


def _usage(script: Script) -> list[str]:
    """Return the comment at the head of a script."""
    lines = script.path.read_text("utf-8").splitlines()[1:]
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return [line[1:].removeprefix(" ") for line in comment]


def _training(script: Script, words: Words, choice: Choice) -> Step:
    """Return the training, without its run folder."""
    arguments = ["with", choice.preset, *choice.words, *words.arguments]
    return Step(script.vocabulary.name, arguments)


def _finish(script: Script, words: Words, choice: Choice, folder: str) -> int:
    """Evaluate a trained run and print the paths of the results."""
    os.environ.pop(cluster.VARIABLE, None)  # the other workers have ended
    for step in script.evaluate(folder, words, choice):
        if code := run_step(step):
            return code
    _say_report(script.report(folder, words))
    return 0


def run_step(step: Step) -> int:
    """Run a step in its own process; return its exit code."""
    return child_processes.run([sys.executable, "-m", step.module, *step.arguments])


def _join_cluster() -> cluster.Worker | None:
    """Set ``TF_CONFIG`` by Slurm or Kubernetes, if it is not set."""
    if os.environ.get(cluster.VARIABLE):
        return None
    worker = cluster.worker(os.environ)
    if worker is not None:
        os.environ[cluster.VARIABLE] = worker.tf_config()
    return worker


def _folder(words: Words, choice: Choice, worker: cluster.Worker | None) -> str:
    """Return the run folder, by the arguments or the environment, else a new one."""
    named = words.value("output", "RUN_DIR")
    if named:
        return named
    if worker is None and os.environ.get(cluster.VARIABLE):
        raise ConfigError(
            "TF_CONFIG names several workers, which need one run folder; set RUN_DIR "
            "or output=FOLDER to the same folder for all of them"
        )
    name = run_folder.date() if worker is None else worker.run
    return str(Path(os.environ.get("ROOT_DIR") or "runs", choice.folder, name))


def _launch(script: Script, hosts: str, arguments: Sequence[str], folder: str) -> int:
    """Start the script on every host; return the exit code."""
    _, rest = experiment.take_option(arguments, "--hosts", "one file of hosts")
    names = (*SHARED_VARIABLES, *script.variables)
    variables = {name: value for name in names if (value := os.environ.get(name))}
    variables["RUN_DIR"] = folder
    named = cluster.read_hosts(hosts)
    _say(f"Training on {len(named)} hosts: {', '.join(named)}")
    command = [str(script.path), *rest]
    return cluster.run_on_hosts(named, command, variables, Path(folder, "hosts"))


def _again(script: Script, folder: str, arguments: Sequence[str]) -> str:
    """Return the command that continues a run."""
    settings = {"RUN_DIR": folder}
    if os.environ.get("LANE", "current") != "current":
        settings["LANE"] = os.environ["LANE"]
    for name in script.variables:
        if os.environ.get(name):
            settings[name] = os.environ[name]
    words = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    return " ".join([*words, shlex.join([str(script.path), *arguments])])


def _say_report(report: Report) -> None:
    _say("")
    for label, value in (*report.files, *report.commands):
        _say(f"{label:<{LABEL_WIDTH}}{value}")
    number = {2: "two", 3: "three"}[len(report.commands)]
    setup = shlex.quote(str(REPOSITORY / "setup.sh"))
    _say(f"(the last {number} in a shell in which you have run: source {setup})")


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
