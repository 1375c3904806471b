"""YFCC100m: read clip lists and the sound of videos, and make a corpus of them."""
