"""Tests that see hosts from outside: several labs at a time."""
