"""Live migration and Remus: xl's protocol, the stream of a domain, and both ends."""
