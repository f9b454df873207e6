"""The binding to libxenlight, libxenctrl and xenstore. Only here are ``ffi`` and ``lib`` touched.

Importing this package loads nothing compiled; `pyxen.xenlight.binding` does, and is imported when a host is opened.
"""
