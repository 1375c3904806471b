"""The table: examples in, scores of each, files out."""
