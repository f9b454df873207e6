"""Benchmarks, on a real Xen host in the lab: ``make bench``, or ``python3 -m benchmarks``.

Every figure is a ratio within one run: the contenders take turns, so that a slow phase of the machine hits all alike.
"""
