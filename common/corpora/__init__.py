"""Readers of data sets, one file each, which turn a folder into lists of tracks."""
