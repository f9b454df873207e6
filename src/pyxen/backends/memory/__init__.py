"""The way to a host in this process, in pure Python: ``memory:///``, for tests and for trying things out."""
