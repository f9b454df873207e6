"""Tests of the codec for libvirt's XML."""
