"""Fixed sets of mixtures, made of clean sounds."""
