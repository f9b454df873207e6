"""Helpers that every backend needs: preconditions, kinds of devices, files of the host."""
