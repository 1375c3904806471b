"""Programs that the tests start, which find one another in their own folder."""

collect_ignore = [
    "file_operations.py",
    "network_operations.py",
    "kills.py",
    "operation.py",
    "trials.py",
]
