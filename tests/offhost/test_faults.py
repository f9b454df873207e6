"""Calls that fail, one after the other: whatever fails, the operation ends with an error, and nothing is left."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen.errors import Error
from tests.offhost.host import OffHost

Configure = Callable[..., DomainConfig]


@pytest.mark.parametrize(
    "name",
    [
        "domctl.createdomain",
        "domctl.max_vcpus",
        "domctl.max_mem",
        "domctl.set_cpu_policy",
        "domctl.sethvmcontext",
        "memory.populate_physmap",
        "hvm.set_param",
        "device.map_batch",
        "device.map_resource",
    ],
)
def test_a_create_whose_hypercall_fails(offhost: OffHost, host: pyxen.Host, config: Configure, name: str) -> None:
    host.create(config()).destroy()  # the worker is there, and xenstore has all that stays
    with offhost.world.failing(name, errno.EIO), pytest.raises(Error):
        host.create(config(), timeout=20)
    assert offhost.left() == []
    host.create(config()).destroy()


def test_every_call_of_a_create_is_seen(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with offhost.world.recording() as calls:
        host.create(config()).destroy()
    names = {call.name for call in calls}
    assert {"domctl.createdomain", "memory.populate_physmap", "domctl.unpausedomain", "domctl.destroydomain"} <= names
    assert {"device.map_batch", "device.grant_map", "device.bind_interdomain", "xenstore.send"} <= names


def test_a_destroy_whose_hypercall_fails_can_be_tried_again(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    with offhost.world.failing("domctl.destroydomain", errno.EPERM), pytest.raises(Error):
        web.destroy(timeout=20)
    assert [info.domid for info in host.list()] == [0, web.domid]
    web.destroy()
    assert offhost.left() == []


def test_a_list_that_fails(offhost: OffHost, host: pyxen.Host) -> None:
    with offhost.world.failing("sysctl.getdomaininfolist", errno.EPERM), pytest.raises(Error, match="does not list"):
        host.list()
    assert [info.domid for info in host.list()] == [0]


def test_what_is_not_answered_is_named(offhost: OffHost) -> None:
    done = offhost.run_python(
        "import ctypes, fcntl\n"
        "privcmd = open('/dev/xen/privcmd', 'r+b')\n"
        "fcntl.ioctl(privcmd, 0x305000, (ctypes.c_uint64 * 6)(99))\n"
    )
    assert done.returncode < 0
    assert "no answer to a hypercall (99" in done.stderr
