"""Google's TF1 checkpoints and meta graphs: what they hold and how they run."""
