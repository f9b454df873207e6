"""The ways to a host: one Protocol (`pyxen.backends.base`), and a module for each."""
