"""The way through libvirt; importing `backend` loads libvirt-python, this does not."""
