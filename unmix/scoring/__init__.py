"""The songs of an evaluation, scored one by one by BSS Eval 4, and their tables."""
