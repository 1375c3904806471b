"""The songs of an evaluation, scored one by one by museval, and their tables."""
