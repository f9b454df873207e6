"""The script of probes that runs on a real host and on a host in memory, and what may differ between the two."""
