"""Pretrained and bundled weights: where they lie, their files, their registry."""
