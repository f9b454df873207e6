"""Tests of pyxen.aio."""
