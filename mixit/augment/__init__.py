"""Offline augmentation of FUSS: draw mixing lists, render mixtures, check sums."""
