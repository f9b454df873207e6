"""Scripts for working on pyxen."""
