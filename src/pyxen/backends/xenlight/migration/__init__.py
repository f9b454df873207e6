"""Live migration and Remus: xl's protocol, libxl's stream of a domain, and both ends."""
