"""Records: what a host, its domains and its devices were at one moment. Immutable, the same from every backend."""
