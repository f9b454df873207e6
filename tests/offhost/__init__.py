"""Tests on the real libxl and the real xenstored, without Xen; see README.md."""
