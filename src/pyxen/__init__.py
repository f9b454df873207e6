"""Run virtual machines on the Xen hypervisor, from typed objects, without a daemon."""

__version__ = "0.1.0"
