"""Learning beside each peer: the same sounds, the same CPU seconds.

``python benchmarks/duels.py --peers DIR --output DIR``: DIR/NAME/bin/python is the
interpreter of each peer, as ``peer_environments.py`` makes it. The learners are in
``duel_ours.py`` and ``duel_theirs.py``, what they share in ``duel_data.py``. Tables and
curves go to ``duels.md`` and ``duels/``; ``--only`` names the duels of the page. A run
that has ended in the output is not repeated. Fails where ours scores more than 0.2 dB
below the peer, or where losses that must be equal are not. ``--quick`` takes 5 seconds
and one seed and writes no page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import duel_data as data
import numpy as np
import peer_environments
import scaling
import turns
from commands import THREADS

from common import plots
from common.files import replacing, write_json

LEARNERS = {"our": "duel_ours.py", "their": "duel_theirs.py", "exact": "duel_theirs.py"}
PICTURES = Path(__file__).with_name("duels")
OURS = "tensorflow", "tf-keras", "numpy"
TOLERANCE, MARGIN = 1e-4, -0.2
ROOM = 3
"""How many times the rounding of the peer ours may be."""
COLOURS = {"our": "#0072b2", "their": "#d55e00"}


class Duel(NamedTuple):
    """Two learners.

    Attributes:
        title: Its heading.
        peer: Environment of the peer.
        first: Who runs first, and gives the other its weights.
        measure: What is measured on the held-out sounds.
        compared: The losses that must be equal, in words.
        text: What is equal and what is not.
        sounds: Name of the sounds.
    """

    title: str
    peer: str
    first: str
    measure: str
    compared: str
    text: str
    sounds: str = "speech"


IMPROVEMENT = "improvement of the SI-SDR"
STEPS = "losses of the first 20 steps"
DUELS = {
    "conv_tasnet": Duel(
        "Conv-TasNet and asteroid",
        "asteroid",
        "their",
        IMPROVEMENT,
        STEPS,
        "asteroid's `ConvTasNet` (N=64, L=32, B=Sc=32, H=64, X=4, R=2) with "
        "`PITLossWrapper(pairwise_neg_sisdr)` and the `conv_tasnet` of `clustering`. "
        "Equal: the weights, which asteroid draws and ours reads from its file, the "
        "loss, Adam with 1e-3, the limit of the gradient's norm (5). With seed 2 the "
        "losses diverge after the first step: one of 255,744 inputs of a PReLU in the "
        "third block is -5e-7 in float64 and positive in our float32. With that sign "
        "changed, the gradients in float64 equal ours to 4e-6.",
    ),
    "deep_clustering": Duel(
        "Deep clustering and nussl",
        "nussl",
        "their",
        IMPROVEMENT,
        STEPS,
        "nussl's `build_recurrent_dpcl` (two BLSTM layers of 64, 20 dimensions, no "
        "dropout) with `DeepClusteringLoss` and `TrainClosure`, and `dpcl` of "
        "`clustering`. Equal: the weights, which nussl draws and ours reads from its "
        "file, the loss, Adam with 1e-3, and the k-means and binary masks by which "
        "both are measured. Not equal: nussl gets spectra, targets and weights of the "
        "points that its transforms made before the clock starts, as its cache does; "
        "ours computes them from waveforms in every step.",
    ),
    "open_unmix": Duel(
        "Open-Unmix and openunmix",
        "openunmix",
        "our",
        "energy of the vocals' magnitudes over that of their error",
        STEPS,
        "openunmix's `OpenUnmix` (three BLSTM layers, width 56, no dropout), mean "
        "square error and Adam (1e-3, decay 1e-5) as in its `train.py`, and `unmix`, "
        "on excerpts of synthetic songs in stereo at 16 kHz. Equal: the weights, which "
        "ours draws and converts, the loss, the optimizer; both transform waveforms in "
        "every step.",
        "music",
    ),
    "mixit": Duel(
        "MixIT and asteroid",
        "asteroid",
        "their",
        IMPROVEMENT,
        "losses of the same estimates",
        "asteroid's `TDConvNetpp` between the free filters of its filterbanks, with "
        "`mixture_consistency` and the search of `MixITLossWrapper`, and `mixit` with "
        "its `tiny` network: 4 outputs, two mixtures of two speakers in each mixture "
        "of mixtures, 128 filters of 64 samples, 2 x 6 blocks of 64 and 128 channels. "
        "Equal: the loss (saturated at 30 dB), Adam with 1e-3, the limit of the "
        "gradient's norm (5). Not equal: the networks and their weights. asteroid's "
        "has a skip path of 64 channels in each block, which it cannot be built "
        "without, connections between repeats, and norms with gain and offset for each "
        "channel; ours is Google's. The best two of the four outputs are measured.",
    ),
}
SECOND_PHASE = (
    "\n## The adversarial phase and the supervised one\n\n"
    "[second_phase.md](second_phase.md) has this comparison with five seeds.\n"
)


class Result(NamedTuple):
    """The two runs of a seed.

    Attributes:
        seed: The seed.
        our: Our run.
        their: The peer's.
        exact: First steps of the peer in float64.
    """

    seed: int
    our: Mapping[str, Any]
    their: Mapping[str, Any]
    exact: Mapping[str, Any] | None = None

    @property
    def gain(self) -> float:
        """How far ours is above the peer in the end, in dB."""
        return float(self.our["curve"][-1][2] - self.their["curve"][-1][2])

    @property
    def apart(self) -> float:
        """Largest relative difference of the losses that must be equal.

        It is that from the peer's in float64, where there are any.
        """
        return apart(self.our, self.exact or self.their)

    @property
    def rounding(self) -> float:
        """The same of the peer in float32."""
        return apart(self.their, self.exact or self.their)


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the largest relative difference of the losses that must be equal.

    >>> apart({"same": [1.0, 2.5]}, {"same": [1.0, 2.0]})
    0.25
    """
    return float(np.max(np.abs(np.divide(one["same"], other["same"]) - 1)))


def table(results: Sequence[Result], peer: str) -> Iterator[str]:
    """Make lines of Markdown of the scores at the end.

    >>> side = {"curve": [(30.0, 90, 4.0)]}
    >>> list(table([Result(0, side, {"curve": [(30.0, 60, 3.5)]})], "p"))[2]
    '| 0 | 4.00 dB | 3.50 dB | +0.50 dB | 90 | 60 |'
    """
    yield f"| seed | ours | {peer} | difference | our steps | steps of {peer} |"
    yield f"|{'---|' * 6}"
    rows = []
    for result in results:
        (_, mine, score), (_, theirs, other) = (
            side["curve"][-1] for side in (result.our, result.their)
        )
        rows.append((score, other, result.gain, mine, theirs))
        yield f"| {result.seed} | {_cells(rows[-1])} |"
    if len(rows) > 1:
        means = [statistics.mean(column) for column in zip(*rows, strict=True)]
        yield f"| mean | {_cells(means)} |"


def faults(name: str, results: Sequence[Result]) -> list[str]:
    """List where ours is below the peer, or equal losses are not."""
    found = []
    for result in results:
        where = f"{name}, seed {result.seed}"
        if not result.gain >= MARGIN:
            found.append(f"{where}: {result.gain:+.2f} dB; expected {MARGIN} or more")
        if not result.apart <= max(TOLERANCE, ROOM * result.rounding):
            found.append(f"{where}: losses differ by {result.apart:.1e}")
    return found


def section(name: str, results: Sequence[Result]) -> str:
    """Write the part of the page about a duel."""
    duel = DUELS[name]
    lines = [
        f"\n## {duel.title}\n",
        f"{duel.text}\n",
        f"Table and curves: {duel.measure} of the held-out sounds.\n",
        *table(results, duel.peer),
        "",
        equality(duel, results),
    ]
    if wrong := faults(name, results):
        lines += ["", "**Not as expected:** " + "; ".join(wrong) + "."]
    picture = f"{PICTURES.name}/{name}.png"
    return "\n".join([*lines, "", f"![Curves of {duel.title}]({picture})", ""])


def equality(duel: Duel, results: Sequence[Result]) -> str:
    """Say how equal the losses are that must be."""
    each = ", ".join(f"{result.apart:.1e}" for result in results)
    if not all(result.exact for result in results):
        return f"Largest relative difference of the {duel.compared}, by seed: {each}."
    own = ", ".join(f"{result.rounding:.1e}" for result in results)
    direct = ", ".join(f"{apart(run.our, run.their):.1e}" for run in results)
    return (
        f"Largest relative difference of the {duel.compared} from those of "
        f"{duel.peer} in float64, by seed: {each}; of {duel.peer} in float32: {own}; "
        f"of both in float32 from each other: {direct}. A difference from float64 up "
        f"to {TOLERANCE:.0e} is expected, or up to {ROOM} times that of {duel.peer}, "
        "whose only difference is rounding. Rounding has a large effect where the "
        "input of a ReLU is close to zero, which changes the gradient, and in the "
        "first step of Adam, which divides each gradient by its own magnitude, "
        "however small."
    )


def draw(name: str, results: Sequence[Result]) -> None:
    """Plot the scores over the CPU seconds."""
    figure = plots.new_figure(7.0, 3.6)
    axes = figure.subplots()
    for side, label in (("our", "ours"), ("their", DUELS[name].peer)):
        for number, result in enumerate(results):
            seconds, _, scores = zip(*getattr(result, side)["curve"][1:], strict=True)
            style = {"color": COLOURS[side], "marker": ".", "linewidth": 1.2}
            axes.plot(seconds, scores, label="" if number else label, **style)
    axes.set_xlabel("CPU seconds")
    axes.set_ylabel("dB")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    PICTURES.mkdir(exist_ok=True)
    plots.save(figure, PICTURES / f"{name}.png")


def head(options: argparse.Namespace, peers: Sequence[str]) -> str:
    """Describe what all duels share, the machine and the versions."""
    ours = ", ".join(f"{name} {version(name)}" for name in OURS)
    known = [
        peer_environments.versions(
            options.peers / peer, peer_environments.PEERS[peer][3]
        )
        for peer in peers
    ]
    return (
        "# Duels of learning\n\nWritten by `python benchmarks/duels.py --peers DIR "
        f"--output DIR --seconds {options.seconds:g}`. Each learner has its own "
        f"process, one thread and, for each seed, {options.seconds:g} s of CPU time, "
        "not counting the import, the first step, in which TensorFlow traces its "
        "graph, and the evaluations, the first of which follows that step. Both read "
        "the same arrays in the same order, batches "
        f"of {data.BATCH} excerpts of 2 s; the speech is {data.TRAINING} mixtures of "
        f"two synthetic speakers at 8 kHz, and {data.HELD_OUT} held-out ones of the "
        "same speakers. Higher is better everywhere. Small networks are trained for a "
        "short time, so the scores show early learning and not the quality of the "
        "methods.\n\n"
        f"- Machine: {scaling.processor()}, {os.cpu_count()} cores, shared with other "
        "programs, which affect CPU time too.\n"
        f"- This suite: Python {platform.python_version()}, {ours}.\n"
        + "".join(f"- Peer: {versions}.\n" for versions in known)
    )


def prepare(output: Path, seeds: Sequence[int], names: Sequence[str]) -> None:
    """Write sounds and the order of their excerpts, where they are missing."""
    output.mkdir(parents=True, exist_ok=True)
    for sounds in dict.fromkeys(DUELS[name].sounds for name in names):
        path = output / f"{sounds}.npz"
        if not path.exists() and sounds == "music":
            list(run(sys.executable, "our", "music", output))
        elif not path.exists():
            with replacing(path) as draft, draft.open("wb") as file:
                np.savez(file, **data.speech())
        with np.load(path) as arrays:
            count = len(arrays["train"])
        for seed in seeds:
            np.save(output / f"{sounds}, order {seed}.npy", data.order(seed, count))


def fight(name: str, options: argparse.Namespace) -> list[Result]:
    """Let both learn from all seeds, one after the other; what has ended is read."""
    duel, others = DUELS[name], {"our": "their", "their": "our"}
    sides = [duel.first, others[duel.first]]
    if duel.compared == STEPS:
        sides.append("exact")
    for side in sides:
        learn(side, name, options)
    results = []
    for seed in options.seeds:
        files = {side: ended(options, side, name, seed) for side in sides}
        read = {side: json.loads(path.read_text()) for side, path in files.items()}
        results.append(Result(seed, **read))
    return results


def learn(side: str, name: str, options: argparse.Namespace) -> None:
    """Let a side learn from the seeds that it has not ended."""
    missing = [
        seed for seed in options.seeds if not ended(options, side, name, seed).exists()
    ]
    if not missing:
        return
    sys.stderr.write(f"{side} {name}, seeds {missing}\n")
    python = options.peers / DUELS[name].peer / "bin" / "python"
    program = sys.executable if side == "our" else str(python)
    seconds = 0.0 if side == "exact" else options.seconds
    for result in run(program, side, name, options.output, seconds, *missing):
        write_json(result, ended(options, side, name, result["seed"]))


def ended(options: argparse.Namespace, side: str, name: str, seed: int) -> Path:
    """Return the file of a run's result."""
    words = f"{side} {name}, seed {seed}, {options.seconds:g} s.json"
    return Path(options.output, words)


def run(program: str, side: str, *words: Any) -> Iterator[Any]:
    """Run a learner in its own process; yield its results as they come.

    Raises:
        SystemExit: It failed; it has printed why.
    """
    environment = {
        **os.environ,
        **THREADS,
        "PYTHONPATH": str(turns.ROOT) if side == "our" else "",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    file = Path(__file__).with_name(LEARNERS[side])
    command = [program, str(file), *map(str, words)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            if line.startswith("result "):
                yield json.loads(line.removeprefix("result "))
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed, see its messages above")


def main() -> int:
    """Let all learn and write the page; return 1 if it has something unexpected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(DUELS), default=list(DUELS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.seeds = 5.0, [0]
    with tempfile.TemporaryDirectory() as temporary:
        options.output = (options.output or Path(temporary)).absolute()
        prepare(options.output, options.seeds, options.only)
        results = {name: fight(name, options) for name in options.only}
    peers = list(dict.fromkeys(DUELS[name].peer for name in results))
    parts = [head(options, peers)]
    parts += [section(name, each) for name, each in results.items()]
    turns.publish([*parts, SECOND_PHASE], __file__, options.quick)
    if not options.quick:
        for name, each in results.items():
            draw(name, each)
    return int(any(faults(name, each) for name, each in results.items()))


def _cells(row: Sequence[float]) -> str:
    score, other, gain, mine, theirs = row
    return (
        f"{score:.2f} dB | {other:.2f} dB | {gain:+.2f} dB | {mine:.0f} | {theirs:.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
