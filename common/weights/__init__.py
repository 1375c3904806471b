"""Pretrained and bundled weights: their locations, files and registry."""
