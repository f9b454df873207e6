"""The connection to xenstore, the names of domains, and the watches that events are made from."""
