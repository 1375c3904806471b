"""Read models of nussl, asteroid and torchaudio, and experiment files of nussl."""
