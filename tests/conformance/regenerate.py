"""Write the committed values of a new model: ``python regenerate.py NAME VERSION``.

Run once, when a pillar adds its line to MODELS; afterwards the values only change with
the format of checkpoints or the numbers of a preset, which is a new major release.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

# ruff: noqa: E402 (the folders must be on the path first)
import conftest
import test_battery as battery

from common.config import save
from common.training.checkpoint import save_network


def main() -> None:
    """Write variable names, the golden pass and a checkpoint of the small network."""
    name, version = sys.argv[1:]
    case = conftest.MODELS[name]
    network = case.network()
    variables = [
        [v.name.removesuffix(":0"), v.shape.as_list()] for v in network.variables
    ]
    lines = ",\n".join(json.dumps(each) for each in variables)
    (battery.GOLDEN / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    battery.fill(network)
    outputs = battery.values(network(battery.inputs(case)))
    np.save(battery.GOLDEN / f"{name}.npy", outputs.numpy())
    folder = battery.GOLDEN / "checkpoints" / f"{name}-{version}"
    folder.mkdir(parents=True)
    small, config = case.small()
    battery.fill(small)
    save(config, folder / "config.json")
    save_network(folder, small)
    separator = case.load(folder)
    channels, samples = separator.channels, separator.sample_rate // 2
    wave = 0.3 * np.sin(np.arange(channels * samples) ** 1.3)
    mixture = wave.astype(np.float32).reshape(channels, samples)
    estimates = separator(mixture)
    np.savez_compressed(folder / "outputs.npz", mixture=mixture, **estimates)


if __name__ == "__main__":
    main()
