"""Disks with a system on them: `pyxen.images`, awaited.

If a task is cancelled, what it has made is removed before it goes on; an image that is complete by then stays. A
``progress`` is called on a thread.
"""

from __future__ import annotations

from pyxen import images
from pyxen.aio._programs import awaited
from pyxen.images import Access, GuestImage

__all__ = ["Access", "GuestImage", "from_cloud_image", "from_distribution"]

from_cloud_image = awaited(images.from_cloud_image, __name__)
from_distribution = awaited(images.from_distribution, __name__)
