"""FUSS's offline recipe: lists drawn, mixtures realised, rooms added, sums checked."""
