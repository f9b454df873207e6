"""The disks of guests: volumes of LVM, and image files. ``pyxen.storage.VolumeGroup("vg0")``.

::

    from pyxen.storage import VolumeGroup, create_image

    group = VolumeGroup("vg0", host=xen)
    web = group.create("web1", "20G")
    config = config.replace(disks=[web.disk("xvda")])
    image = create_image("/srv/web2.qcow2", "20G", format="qcow2")

LVM's own tools and qemu-img do the work: they must be installed, and LVM answers root only. A call that fails or is
interrupted leaves nothing. `pyxen.aio.storage` has the same, awaited.
"""

from pyxen.storage.images import Image, create_image, image_info
from pyxen.storage.volumegroup import VolumeGroup, volume_groups
from pyxen.storage.volumes import Volume, VolumeGroupInfo

__all__ = ["Image", "Volume", "VolumeGroup", "VolumeGroupInfo", "create_image", "image_info", "volume_groups"]
