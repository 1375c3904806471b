"""``python -m common.records verify FOLDER...`` reads and checks every record.

A folder may hold several sets of records, of other tracks, files or options; all of
them are checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import exit_code
from common.records.check import verify
from common.records.reuse import finished_folders


def main(arguments: Sequence[str] | None = None) -> int:
    """Check folders of records.

    Args:
        arguments: Command line arguments; None takes those of the process.

    Returns:
        The exit code, 0 if all records are as they were written.
    """
    parser = argparse.ArgumentParser(prog="python -m common.records")
    commands = parser.add_subparsers(required=True, metavar="verify")
    command = commands.add_parser("verify", help="read and check every record")
    command.add_argument("folders", nargs="+", metavar="FOLDER")
    options = parser.parse_args(arguments)
    return exit_code("records", lambda: _verify(options.folders))


def _verify(folders: Sequence[str]) -> int:
    for folder in folders:
        # verify raises the error for a folder without records.
        sets = finished_folders(Path(folder)) or [Path(folder)]
        for records_folder in sets:
            index = verify(records_folder)
            sys.stdout.write(
                f"{index.folder}: {len(index)} tracks, {index.hours:.2f} hours, "
                f"{len(index.shards)} shards, all intact\n"
            )
        count = f"{len(sets)} sets" if len(sets) > 1 else "1 set"
        sys.stdout.write(f"{folder}: {count} of records verified\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
