"""Make the environments of the programs that this suite is compared with.

``python benchmarks/peer_environments.py PEERS OUTPUT``: each peer gets a virtual
environment PEERS/NAME, unless it has one that works. ``OUTPUT/peers.json`` names their
versions, and ``OUTPUT/NAME.missing`` why one could not be installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """What an environment holds.

    Attributes:
        packages: Requirements.
        alone: A requirement whose own requirements are not installed.
        check: Python that succeeds where everything works.
        versions: Packages whose versions the results name.
    """

    packages: tuple[str, ...]
    alone: str
    check: str
    versions: tuple[str, ...]


TORCH = "torch==2.13.0"
NO_TORCHAUDIO = "import sys, types; sys.modules['torchaudio'] = types.ModuleType('t')"
PEERS = {
    # Files are not read, so that torchaudio need not fit torch.
    "openunmix": Peer(
        (TORCH, "musdb", "tqdm", "soundfile"),
        "openunmix==1.3.0",
        f"{NO_TORCHAUDIO}; import openunmix.utils, openunmix.data, musdb, soundfile",
        ("torch", "openunmix", "musdb", "numpy"),
    ),
    # A package that it needs imports requests without requiring it.
    "asteroid": Peer(
        (TORCH, "asteroid==0.7.0", "requests"),
        "",
        f"{NO_TORCHAUDIO}; import asteroid.losses, asteroid.models, asteroid.dsp.vad",
        ("torch", "asteroid", "asteroid-filterbanks", "numpy"),
    ),
    # Its requirement soxbindings must be compiled and is replaced by sox.
    "nussl": Peer(
        (
            *(TORCH, "scikit-learn", "librosa", "matplotlib", "museval", "musdb"),
            *("pyyaml", "zarr<3", "ffmpy", "pytorch-ignite<0.5", "tensorboard", "jams"),
            *("norbert", "tqdm", "termtables", "gpytorch", "ffmpeg-python", "sox"),
            *("importlib-resources", "pyloudnorm", "numpy<2", "scipy<1.13"),
            "setuptools<81",
        ),
        "nussl==1.1.9",
        "import nussl, sklearn.cluster, soundfile",
        ("torch", "nussl", "scikit-learn", "numpy"),
    ),
    "google": Peer(
        ("tensorflow==2.15.1", "attrs", "immutabledict", "six", "pandas", "soundfile"),
        "",
        "import tensorflow.compat.v1, immutabledict, six, pandas, soundfile",
        ("tensorflow", "numpy"),
    ),
}


def run(*words: str | Path) -> str:
    """Run a command; return the last line of its messages if it failed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1] if done.returncode else ""


def install(folder: Path, peer: Peer) -> str:
    """Make an environment; return why it does not work, or nothing."""
    python = folder / "bin" / "python"
    if python.exists() and not run(python, "-c", peer.check):
        return ""
    steps = [
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "-q", *peer.packages],
        [python, "-m", "pip", "install", "-q", "--no-deps", peer.alone],
        [python, "-c", peer.check],
    ]
    for step in steps:
        if "" not in step and (reason := run(*step)):
            return reason
    return ""


def versions(folder: Path, names: tuple[str, ...]) -> str:
    """List the versions of packages of an environment."""
    code = (
        "from importlib.metadata import version; import platform; "
        "print('Python', platform.python_version(), end='')\n"
        f"for name in {names!r}: print(',', name, version(name), end='')"
    )
    words = [str(folder / "bin" / "python"), "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Make all environments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    found = {}
    for name, peer in PEERS.items():
        sys.stderr.write(f"environment {name}\n")
        reason = install(options.peers / name, peer)
        missing = options.output / f"{name}.missing"
        missing.unlink(missing_ok=True)
        if reason:
            missing.write_text(f"{name} cannot be installed here: {reason}\n", "utf-8")
        else:
            found[name] = versions(options.peers / name, peer.versions)
    (options.output / "peers.json").write_text(json.dumps(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
