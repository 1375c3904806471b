"""A cheap separator of a module, which processes of their own can load by its name."""

import os
import signal
import sys

import numpy as np

from common.separation.command import command
from common.separation.separator import Separator

RATE = 8000


def load(model, **options):
    """Halve the sound; a peak of exactly 0.75 kills the process."""

    def network(batch):
        if batch.max() == 0.75:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.stack([0.75 * batch, 0.25 * batch], 1)

    if model == "missing":
        raise ValueError("model 'missing' is not known; expected half")
    return Separator(
        network, ["vocals", "rest"], RATE, named=True, digest=lambda: 64 * "0"
    )


if __name__ == "__main__":
    sys.exit(command(load, sys.argv[1:], "Separate.", model="half"))
