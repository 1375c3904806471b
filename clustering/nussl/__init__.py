"""Read models and experiment files of nussl."""
