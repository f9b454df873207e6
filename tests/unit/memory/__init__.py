"""The host in memory, and what `pyxen.testing` makes of it."""
