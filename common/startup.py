"""Import TensorFlow without its log lines and without Keras 3.

TensorFlow writes a dozen lines to standard error while it is imported and looks for
GPUs, among them an error on machines without any. They are suppressed and shown only if
the import fails or if TensorFlow does not see an installed GPU. A user who sets
``TF_CPP_MIN_LOG_LEVEL`` gets the lines of that level.

TensorFlow also imports Keras 3 and, by it, matplotlib, which the suite does not use.
Without them a command starts in 4 seconds of CPU time instead of 6. ``tf.keras`` stays
as the environment of the user sets it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
LEGACY = "TF_USE_LEGACY_KERAS"
MARK = "SEPARATION_QUIET_TENSORFLOW"
NVIDIA = Path("/proc/driver/nvidia/version")
MODULE = re.compile(
    r"(-m)?(mixit|unmix|clustering|adversarial|common|harmony_split)(\..+)?"
)
"""Modules of the suite, as words of ``python -m mixit.train`` or ``-mmixit.train``."""
COMMAND = re.compile(
    r"(mixit|unmix|clustering|adversarial)-(train|separate|evaluate|convert|export|light)"
    r"|clustering-visualize|umx-tf|harmony-split|separation-(doctor|registry)"
)
"""Names of the commands that ``pip`` installs."""


class Finder:
    """Finder of modules that replaces the loader of TensorFlow once."""

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Return the specification of TensorFlow, whose loader calls :func:`_load`."""
        if name != "tensorflow":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = functools.partial(_load, spec.loader.exec_module)
            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec


def is_command() -> bool:
    """Return whether this process is a command of the suite, and no user's program.

    Commands start by ``python -m mixit.train`` or, installed by pip, ``mixit-train``.
    """
    if sys.argv[:1] == ["-m"]:  # the value while Python looks for the module
        return MODULE.fullmatch(sys.orig_argv[-len(sys.argv)]) is not None
    return COMMAND.fullmatch(Path(*sys.argv[:1]).name) is not None


def replace_closed_streams() -> None:
    """Open the null device for each standard stream that a command starts without.

    Otherwise a line of output is an error, or goes to the file that is opened next.
    """
    if not is_command():
        return
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            # Names of files may hold bytes that are not UTF-8.
            stream = open(os.devnull, mode, errors="backslashreplace")  # noqa: PTH123, SIM115
            os.set_inheritable(stream.fileno(), True)  # child processes need it too
            setattr(sys, name, stream)


def shorten_interrupts() -> None:
    """Let Ctrl-C end the imports of a command without a traceback.

    The exit code is 130 in a shell, as Python ends by the signal. Once a command runs,
    :func:`common.errors.exit_code` reports interruptions.
    """
    if not is_command():
        return
    before = sys.excepthook

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("interrupted\n")
        else:
            before(kind, error, trace)

    sys.excepthook = report


def prepare_tensorflow() -> None:
    """Make a later import of TensorFlow quiet and fast."""
    if "tensorflow" in sys.modules:
        return
    if VARIABLE not in os.environ:
        # Errors only, also in child processes.
        os.environ.update({VARIABLE: "2", MARK: "1"})
    sys.meta_path.insert(0, Finder)


def hide_gpus() -> None:
    """Let this process compute on the CPU; to be called before TensorFlow computes."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def choose_device(name: str) -> None:
    """Let this process compute on one device; to be called before TensorFlow computes.

    Args:
        name: ``cpu``, ``gpu`` for the first GPU, or ``gpu:1`` for the second one.

    Raises:
        ValueError: The name is none of these, or there is no such GPU.
    """
    if name == "cpu":
        hide_gpus()
        return
    device, colon, digits = name.partition(":")
    number = digits if colon else "0"
    if device != "gpu" or not number.isdecimal():
        raise ValueError(f"device is {name!r}; expected cpu, gpu or gpu:1")
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if int(number) >= len(gpus):
        raise ValueError(
            f"device is {name!r}, but TensorFlow sees {len(gpus)} GPUs; leave it out, "
            "or ask python -m common.doctor why"
        )
    tf.config.set_visible_devices(gpus[int(number)], "GPU")
    # Otherwise one process takes all of its memory.
    tf.config.experimental.set_memory_growth(gpus[int(number)], True)


def _load(run: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Import TensorFlow and let it look for devices; show its log if that fails."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_keras_3())
        log = _divert(stack) if MARK in os.environ else None
        is_well = False
        try:
            run(module)
            gpus = module.config.list_physical_devices("GPU")
            is_well = bool(gpus) or not NVIDIA.exists()
        except KeyboardInterrupt:
            is_well = True
            raise
        finally:
            stack.close()
            if log is not None and not is_well:
                os.write(2, log)


def _divert(stack: contextlib.ExitStack) -> bytearray | None:
    """Divert standard error into the returned bytes until the stack is closed."""
    if sys.stderr is None:
        return None
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the stack closes it)
        before = os.dup(2)
    except OSError:
        return None
    text = bytearray()

    def restore() -> None:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        file.seek(0)
        text.extend(file.read())
        file.close()

    stack.callback(restore)
    sys.stderr.flush()
    os.dup2(file.fileno(), 2)
    return text


@contextlib.contextmanager
def _without_keras_3() -> Iterator[None]:
    before = os.environ.get(LEGACY)
    os.environ[LEGACY] = "1"
    try:
        yield
    finally:
        os.environ.pop(LEGACY)
        if before is not None:
            os.environ[LEGACY] = before
