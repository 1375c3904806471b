"""Recurrent layers and batch normalisation that several packages use."""
