"""The libvirt backend. Importing `backend` loads libvirt-python; importing this package does not."""
