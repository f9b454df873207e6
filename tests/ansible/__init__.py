"""The tests of Ansible's collection."""
