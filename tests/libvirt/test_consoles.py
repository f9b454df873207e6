"""Which of libvirt's names a console has, from the XML of a running domain."""

from __future__ import annotations

import pytest

from pyxen import ConsoleType, NotFound
from pyxen.backends.libvirt.console import console_name

HVM = """
<domain type='xen'><name>a</name><os><type>hvm</type></os><devices>
  <serial type='pty'><source path='/dev/pts/1'/><target port='0'/><alias name='serial0'/></serial>
  <serial type='pty'><source path='/dev/pts/2'/><target port='2'/><alias name='serial2'/></serial>
  <serial type='pty'><target port='3'/></serial>
  <console type='pty'><source path='/dev/pts/1'/><target type='serial' port='0'/><alias name='serial0'/></console>
</devices></domain>
"""
PVH = """
<domain type='xen'><name>a</name><os><type>xenpvh</type></os><devices>
  <console type='pty'><source path='/dev/pts/1'/><target type='xen' port='0'/><alias name='console0'/></console>
</devices></domain>
"""


@pytest.mark.parametrize(
    ("xml", "kind", "number", "name"),
    [
        (HVM, None, 0, "serial0"),
        (HVM, ConsoleType.SERIAL, 2, "serial2"),
        (HVM, None, 2, "serial2"),
        (PVH, None, 0, None),
        (PVH, ConsoleType.PV, 0, None),
    ],
)
def test_a_console_that_libvirt_can_open(xml: str, kind: ConsoleType | None, number: int, name: str | None) -> None:
    assert console_name(xml, kind, number) == name


@pytest.mark.parametrize(
    ("xml", "kind", "number"),
    [
        (HVM, ConsoleType.PV, 0),
        (HVM, ConsoleType.SERIAL, 1),
        (HVM, ConsoleType.SERIAL, 3),
        (PVH, ConsoleType.SERIAL, 0),
        (PVH, ConsoleType.PV, 1),
        (PVH, None, 1),
    ],
)
def test_a_console_that_is_not_there(xml: str, kind: ConsoleType | None, number: int) -> None:
    with pytest.raises(NotFound, match="libvirt has no console"):
        console_name(xml, kind, number)
