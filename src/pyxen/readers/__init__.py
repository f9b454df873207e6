"""Readers: what comes from a host in its own time (events, lines, changes), and the queues in which it waits."""
