"""Tests of events, against a host and a xenstored in this process; `tests/xen` has the real ones."""
