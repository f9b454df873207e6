"""A host behind a server, and both ends of the link to it."""
