"""Read and run Google's TF1 checkpoints and meta graphs."""
