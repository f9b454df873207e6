"""Tests against libvirt: its schema, and the documents of its own tests."""
