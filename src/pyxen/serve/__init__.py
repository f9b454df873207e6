"""Serving a host of this machine to another pyxen, over a pair of descriptors: ``pyxen serve``."""
