"""The commands ``pyxen volume``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Final

import typer

from pyxen.cli.options import AsJson, Uri, Yes
from pyxen.cli.output import document, table
from pyxen.cli.session import confirm, told
from pyxen.connection import connect
from pyxen.errors import BindingNotBuilt, InvalidArgument, NotOnXen
from pyxen.host import Host
from pyxen.storage import Volume, VolumeGroup, volume_groups

__all__ = ["COMMANDS"]

_MIB: Final = 1 << 20

Name = Annotated[str, typer.Argument(metavar="GROUP/VOLUME", help="Volume group and volume, as vg0/web1.")]
Size = Annotated[str, typer.Argument(metavar="SIZE", help="512M, 20G, 1T, or bytes.")]


@contextlib.contextmanager
def _host_of(uri: str) -> Iterator[Host | None]:
    """Open the host, to ask which volumes domains have; None on a machine without Xen, where there are no domains."""
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(connect(uri, workers=0))
        except (NotOnXen, BindingNotBuilt):
            if not uri.startswith("xenlight:"):
                raise
            host = None
        yield host


@contextlib.contextmanager
def _group(name: str, uri: str) -> Iterator[tuple[VolumeGroup, str]]:
    """Return the group and the name of a volume, as a person writes them: ``vg0/web1`` or ``/dev/vg0/web1``."""
    with told():
        group, slash, volume = name.removeprefix("/dev/").partition("/")
        if not slash:
            message = f"{name}: give the volume group, too, as vg0/{name}"
            raise InvalidArgument(message, operation="volume")
        with _host_of(uri) as host:
            yield VolumeGroup(group, host=host), volume


def _report(volume: Volume, *, as_json: bool) -> None:
    if as_json:
        document(volume.to_dict())


def volume_list(
    groups: Annotated[list[str] | None, typer.Argument(metavar="GROUP", help="Volume groups. Default: all.")] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List the volumes of this machine's volume groups, and which domains have them. Sizes are in MiB.

    Example: pyxen volume list vg0

    JSON: a list of objects with group, which is a VolumeGroupInfo, and volumes, a list of Volume.
    """
    with told(), _host_of(uri) as host:
        names = groups or [each.name for each in volume_groups()]
        opened = [VolumeGroup(name, host=host) for name in names]
        found = [(group.info(), group.volumes()) for group in opened]
    if as_json:
        document([{"group": info.to_dict(), "volumes": [each.to_dict() for each in them]} for info, them in found])
        return
    rows: list[tuple[object, ...]] = []
    for info, volumes in found:
        rows.append((info.name, None, info.size_bytes // _MIB, info.free_bytes // _MIB, None, None))
        for each in volumes:
            kind = f"in {each.pool}" if each.pool else "pool" if each.is_pool else None
            kind = f"snapshot of {each.snapshot_of}" if each.snapshot_of else kind
            used = ", ".join(each.used_by) or ("open" if each.open else None)
            rows.append((info.name, each.name, each.size_bytes // _MIB, None, kind, used))
    table(["Group", "Volume", "Size", "Free", "Kind", "Used by"], rows, numbers=["Size", "Free"])


def volume_create(
    name: Name,
    size: Size,
    uri: Uri = "",
    *,
    pool: Annotated[str | None, typer.Option(metavar="POOL", help="A thin pool that it gets its space from.")] = None,
    is_pool: Annotated[bool, typer.Option("--thin-pool", help="Create a thin pool.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a volume, or a thin pool.

    Example: pyxen volume create vg0/web1 20G

    JSON: a Volume.
    """
    if pool is not None and is_pool:
        raise typer.BadParameter("a thin pool is in no pool: give --pool or --thin-pool")
    with _group(name, uri) as (group, volume):
        made = group.create_pool(volume, size) if is_pool else group.create(volume, size, pool=pool)
    _report(made, as_json=as_json)


def volume_remove(name: Name, uri: Uri = "", *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove a volume, and what it holds. It asks first. One that a domain has is not removed.

    Example: pyxen volume remove vg0/web1

    JSON: a Volume, as it was before.
    """
    with _group(name, uri) as (group, volume):
        before = group[volume]
        confirm(f"Remove the volume {group.name}/{volume}, and what it holds?", yes=yes)
        group.remove(volume)
    _report(before, as_json=as_json)


def volume_resize(
    name: Name,
    size: Size,
    uri: Uri = "",
    *,
    shrink: Annotated[bool, typer.Option("--shrink", help="Allow it to become smaller.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Change the size of a volume. With --shrink it may become smaller, and it asks first.

    Example: pyxen volume resize vg0/web1 30G

    JSON: a Volume.
    """
    with _group(name, uri) as (group, volume):
        if shrink:
            confirm(f"Shrink {group.name}/{volume}, and lose what is behind its new end?", yes=yes)
        made = group.resize(volume, size, shrink=shrink)
    _report(made, as_json=as_json)


def volume_snapshot(
    name: Name,
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The name of the snapshot.")],
    size: Annotated[
        str | None, typer.Argument(metavar="SIZE", help="Space for changes; a thin volume needs none.")
    ] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a snapshot of a volume, in the same group.

    Example: pyxen volume snapshot vg0/web1 before 2G

    JSON: a Volume.
    """
    with _group(name, uri) as (group, volume):
        made = group.snapshot(volume, snapshot, size=size)
    _report(made, as_json=as_json)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "list": volume_list,
    "create": volume_create,
    "remove": volume_remove,
    "resize": volume_resize,
    "snapshot": volume_snapshot,
}
"""The commands of this module by name."""
