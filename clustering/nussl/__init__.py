"""What others train with nussl: its models as graphs, its experiment files."""
