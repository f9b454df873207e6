"""Tests that need no C library."""
