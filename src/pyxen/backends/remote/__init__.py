"""A host that another pyxen serves, over a pair of descriptors: its protocol, and the backend at this end."""
