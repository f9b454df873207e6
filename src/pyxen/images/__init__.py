"""Disks with a system on them: of a distribution, or from a cloud image.

::

    from pyxen.images import Access, from_distribution
    from pyxen.storage import VolumeGroup

    access = Access("web1", ssh_keys=[Path("/root/.ssh/id_ed25519.pub").read_text()])
    image = from_distribution("web1", access, suite="bookworm", group=VolumeGroup("vg0"), size=4096)
    web1 = xen.create(image.config(memory=1024, vifs=[Vif(bridge="xenbr0")]))

They are made on this machine, as root, by mmdebstrap, mke2fs, qemu-img and genisoimage or xorriso. While an image is
made, nothing is mounted where others see it, and a file gets its name when it is complete.
"""

from __future__ import annotations

from pyxen.images.access import Access
from pyxen.images.cloud import from_cloud_image
from pyxen.images.distribution import from_distribution
from pyxen.images.image import GuestImage

__all__ = [
    "Access",
    "GuestImage",
    "from_cloud_image",
    "from_distribution",
]
