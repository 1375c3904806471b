"""Losses of embeddings and of estimates."""
