"""The ``memory:///`` backend: a simulated host in this process, in pure Python, for tests and experiments."""
