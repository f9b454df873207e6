"""The backend over libvirt, against the driver for tests that libvirt itself has."""
