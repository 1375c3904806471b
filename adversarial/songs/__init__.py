"""The songs of a run: corpora, lists for training and test, and excerpts."""
