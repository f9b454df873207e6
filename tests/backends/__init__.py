"""The contract: what holds for every way to a host, and how each may differ."""
