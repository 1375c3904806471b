"""Score the songs of an evaluation by BSS Eval 4, and make their tables."""
