"""Hosts behind workers of Dask, all in one event loop."""
