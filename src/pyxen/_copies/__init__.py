"""Copies of guests: what pools and clones have in common, and how each is made."""
