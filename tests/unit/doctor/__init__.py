"""Tests of the examination of a host."""
