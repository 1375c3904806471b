"""Draw the loss of a run: ``python docs/images/learning_curve.py RUN IMAGE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from common import plots


def main(run: str, image: str) -> None:
    """Write the plot of the training and validation loss of a run folder."""
    lines = Path(run, "scalars.jsonl").read_text("utf-8").splitlines()
    figure = plots.curves([json.loads(line) for line in lines], ["loss"])
    plots.save(figure, image)


if __name__ == "__main__":
    main(*sys.argv[1:])
