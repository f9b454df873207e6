"""The domains that this process is making, for all of its hosts: each needs memory that is still free, but promised."""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

__all__ = ["BUILDS"]

BUILDS: Final[dict[UUID, int]] = {}
"""The KiB that each needs, in the order of their begin."""

os.register_at_fork(after_in_child=BUILDS.clear)  # what the parent makes, the child does not
