"""A user's code, for type checkers."""
