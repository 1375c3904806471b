"""YFCC100m: lists of clips, the sound of videos, a corpus made of both."""
