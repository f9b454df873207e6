"""Helpers shared by all backends: preconditions, device kinds, host files."""
