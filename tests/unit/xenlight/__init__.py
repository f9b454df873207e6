"""The xenlight backend, without Xen."""
