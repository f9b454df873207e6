"""Devices of the host in the asyncio face: the same as those of the blocking one, awaited."""

from __future__ import annotations

import asyncio

import pytest

from pyxen.testing import FakeHost


def test_all_methods_are_awaited() -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as xen:
                await xen.pci.assignable_add("03:00.0", name="nic")
                taken = await xen.pci["nic"]
                assert taken == await xen.pci.get("03:00.0")
                assert await xen.pci.assignable_list() == [taken]
                assert [device async for device in xen.pci] == await xen.pci.list() == fake.pci.list()
                await xen.pci.assignable_remove("nic")
                assert (await xen.pci["03:00.0"]).driver == "igb"
                assert [device async for device in xen.usb] == await xen.usb.list() == fake.usb.list()
                assert await xen.usb["1-2"] == await xen.usb.get((1, 3))
                for devices in (xen.pci, xen.usb):
                    with pytest.raises(TypeError, match="cannot await"):
                        assert "1-2" in devices
                    with pytest.raises(TypeError, match="async for"):
                        list(devices)

    asyncio.run(asyncio.wait_for(main(), 60))
