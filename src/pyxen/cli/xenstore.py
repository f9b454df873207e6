"""Commands for xenstore: ``pyxen xenstore``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer

from pyxen.cli.files import write
from pyxen.cli.options import AsJson, Uri, Yes, timeout_option
from pyxen.cli.output import cell, document, lines, say
from pyxen.cli.session import confirm, host_at
from pyxen.errors import InvalidArgument, NodeNotFound
from pyxen.xenstore import Xenstore
from pyxen.xenstorenodes import XenstoreTransaction

__all__ = ["COMMANDS"]

Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="Nodes.")]


def ls(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The node to begin with.")] = "/",
    uri: Uri = "",
    *,
    full: Annotated[bool, typer.Option("--full", "-f", help="Show whole paths.")] = False,
    permissions: Annotated[bool, typer.Option("--permissions", "-p", help="Show permissions, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show all nodes below a node, with their values.

    Example: pyxen xenstore ls --full /local/domain/0

    JSON: a list of objects with path and value, and with --permissions with permissions, a NodePermissions.
    """
    with host_at(uri) as host:
        store = host.xenstore
        found: list[dict[str, Any]] = []
        for node, value, depth in _below(store, path, 0):
            entry: dict[str, Any] = {"path": node, "value": value}
            if permissions:
                try:
                    entry["permissions"] = store.permissions(node).to_dict()
                except NodeNotFound:
                    continue  # it has gone just now
            if as_json:
                found.append(entry)
            else:
                name = node if full else "  " * depth + node.rpartition("/")[2]
                allowed = f"  ({entry['permissions']})" if permissions else ""
                write(f'{cell(name)} = "{cell(value)}"{cell(allowed)}\n')
        if as_json:
            document(found)


def _below(store: Xenstore, path: str, depth: int) -> Iterator[tuple[str, str, int]]:
    """Yield the nodes below a node, each before those below it, with its value and its depth."""
    names = store.list(path)
    paths = [f"{path.rstrip('/')}/{name}" for name in names]
    values = store.read_many(paths)
    for child in paths:
        value = values[child]
        if value is None:
            continue  # it has gone since the names were read
        yield child, value, depth
        try:
            yield from _below(store, child, depth + 1)
        except NodeNotFound:
            continue


def read(
    paths: Paths,
    uri: Uri = "",
    *,
    raw: Annotated[bool, typer.Option("--raw", "-R", help="Print the bytes as they are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the values of nodes, each on a line.

    Example: pyxen xenstore read /local/domain/0/name

    JSON: a list of objects with path and value.
    """
    with host_at(uri) as host:
        found = [(path, host.xenstore.read(path)) for path in paths]
    if as_json:
        document([{"path": path, "value": value} for path, value in found])
        return
    for _, value in found:
        write(f"{value}\n" if raw else f"{lines(value)}\n")


def write_nodes(
    pairs: Annotated[list[str], typer.Argument(metavar="PATH VALUE", help="Nodes, each before its value.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Write nodes: all of them, or none.

    Example: pyxen xenstore write /tool/mine yes

    JSON: an object with paths, a list of text.
    """
    if len(pairs) % 2:
        raise typer.BadParameter("each path needs a value")

    def all_of_them(transaction: XenstoreTransaction) -> None:
        for path, value in zip(pairs[::2], pairs[1::2], strict=True):
            transaction.write(path, value.encode("utf-8", "surrogateescape"))

    with host_at(uri) as host:
        host.xenstore.transaction(all_of_them)
    if as_json:
        document({"paths": pairs[::2]})


def rm(paths: Paths, uri: Uri = "", *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove nodes and all that is below them. It asks first.

    Example: pyxen xenstore rm --yes /tool/mine

    JSON: an object with paths, a list of text.
    """
    with host_at(uri) as host:
        for path in paths:
            if not path.strip("/"):
                raise InvalidArgument(f"{path!r} is all of xenstore, and no host runs without it", operation="rm")
        confirm(f"Remove {', '.join(paths)}, and all that is below?", yes=yes)
        for path in paths:
            host.xenstore.remove(path)
    if as_json:
        document({"paths": paths})


def watch(
    paths: Paths,
    uri: Uri = "",
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many changes.")] = None,
    timeout: Annotated[float | None, timeout_option("Give up after this time.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show which nodes change, at and below some nodes, until Ctrl-C. One change of each comes at once.

    Example: pyxen xenstore watch /local/domain

    JSON: a NodeChange for each change, on a line.
    """
    with host_at(uri, follows=True) as host, host.xenstore.watch(*paths, timeout=timeout) as changes:
        for seen, change in enumerate(changes, 1):
            if as_json:
                document(change.to_dict(), on_one_line=True)
            else:
                say(change.path, *(["(others may be missing)"] if change.lost else []))
            if seen == count:
                return


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "ls": ls,
    "read": read,
    "write": write_nodes,
    "rm": rm,
    "watch": watch,
}
"""The commands of ``pyxen xenstore`` by name."""
