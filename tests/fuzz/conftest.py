"""Programs that the tests import by their names, as the command does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["fuzz.py", "targets.py"]
