"""The binding to libxl: the compiled module, contexts with their event loops, logs, errors and worker processes.

Importing this package does not load the compiled module; importing `pyxen.backends.xenlight.libxl.binding` does.
"""
