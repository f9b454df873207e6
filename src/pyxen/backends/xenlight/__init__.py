"""The backend for this machine's own Xen, through libxenlight. Only this folder uses ``ffi`` and ``lib``.

Importing this package does not load the compiled module; importing `pyxen.backends.xenlight.backend` does.
"""
