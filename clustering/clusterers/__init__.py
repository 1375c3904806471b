"""Cluster embeddings into masks, and measure how far to trust them."""
