"""libxl's JSON."""
