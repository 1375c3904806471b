"""The networks, their layers and shapes, and the one that a configuration names."""
