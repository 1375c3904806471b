"""Synthetic sounds, and small corpora of them in the layouts of real ones."""
