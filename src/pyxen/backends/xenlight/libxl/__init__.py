"""The binding to libxl: the compiled module, a context with its event loop, logs, errors and worker processes.

Importing this package loads nothing compiled; `pyxen.backends.xenlight.libxl.binding` does.
"""
