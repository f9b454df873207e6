"""Tests of volumes and image files."""
