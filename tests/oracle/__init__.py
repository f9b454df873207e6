"""Tests against the real thing: xl and libxlutil of several Xen releases, run off-host."""
