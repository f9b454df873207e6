"""Tests of pyxen.xlcfg."""
