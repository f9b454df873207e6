"""The tests; `tests.oracle.setup` prepares the real programs that some compare with."""
