"""The losses of embeddings and of estimates, as functions without variables."""
