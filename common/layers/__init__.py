"""Recurrent layers and batch normalisation that several papers need."""
