"""The Wiener filter and the separators that go through it."""
