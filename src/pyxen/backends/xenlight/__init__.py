"""The backend for this machine's own Xen, through libxenlight. Only in this folder are ``ffi`` and ``lib`` used.

Importing this package loads nothing compiled; importing `pyxen.backends.xenlight.backend` does.
"""
