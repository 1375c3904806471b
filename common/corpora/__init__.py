"""Data sets, one file a corpus, each turning a folder into lists of tracks."""
