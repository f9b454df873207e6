"""The bridges of a host and the interfaces of vifs: `pyxen.bridges`, awaited."""

from __future__ import annotations

from pyxen import bridges as blocking
from pyxen.aio._programs import awaited
from pyxen.bridges import Bridge, Interface

__all__ = ["Bridge", "Interface", "bridge", "bridges", "interfaces", "of_vif"]

bridge = awaited(blocking.bridge, __name__)
bridges = awaited(blocking.bridges, __name__)
interfaces = awaited(blocking.interfaces, __name__)
of_vif = awaited(blocking.of_vif, __name__)
