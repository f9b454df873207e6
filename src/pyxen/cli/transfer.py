"""Commands that move the memory of a domain: to a file, from one, to another host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from pyxen.cli.options import AsJson, DomainName, Timeout, Uri
from pyxen.cli.output import say
from pyxen.cli.progress import carry_out
from pyxen.cli.session import config_of, domain_of, host_at, report

__all__ = ["COMMANDS"]

_RECEIVER: Final = "xl migrate-receive"


def save(
    domain: DomainName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, on the host.")],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    checkpoint: Annotated[bool, typer.Option("--checkpoint", "-c", help="Let the guest continue afterwards.")] = False,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave the domain paused afterwards.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save a domain to a file, and end it. The file appears when it is complete.

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        begin = found.begin
        carry_out(
            f"save {domain}",
            lambda: begin.save(file, checkpoint=checkpoint, leave_paused=paused, timeout=timeout),
        )
        report(found, as_json=as_json)


def restore(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="The file; before it, a configuration that replaces the one in it."),
    ],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave it paused.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the domid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a domain from a file that save wrote. The file stays.

    JSON: an object with domid, name and uuid.
    """
    if len(files) > 2:
        raise typer.BadParameter("takes a saved domain, and before it a configuration")
    with host_at(uri) as host:
        config = config_of(files[0]) if len(files) == 2 else None

        def undo(made: Any) -> None:
            left = host.domains.get(made.uuid)
            if left is not None and left.domid == made.domid:
                left.destroy()

        domain = carry_out(
            f"restore {files[-1]}",
            lambda: host.begin.restore(files[-1], config, paused=paused, timeout=timeout),
            undo=undo,
        )
        if domain.name is None:
            domain.info()  # which tells its name
        report(domain, as_json=as_json)
    if not (as_json or quiet):
        say(domain.name, "has domid", domain.domid)


def migrate(
    domain: DomainName,
    host_name: Annotated[
        str, typer.Argument(metavar="HOST", help='A host for ssh; with -s "", a command line for sh.')
    ],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    ssh: Annotated[
        str | None,
        typer.Option("-s", metavar="COMMAND", help="What to use instead of ssh; empty: HOST is the whole command."),
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave it paused there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move a running domain to another host. The receiver there is xl or pyxen.

    If it fails or is interrupted, the domain continues here.

    JSON: an object with domid, name and uuid: those that it had here.
    """
    if ssh == "" and paused:
        raise typer.BadParameter('with -s "", the command of the receiver takes -p itself')
    title = f"migrate {domain} to {host_name}"
    with host_at(uri) as host:
        found = domain_of(host, domain)
        begin = found.begin
        if ssh is None:
            carry_out(title, lambda: begin.migrate(host_name, paused=paused, timeout=timeout))
        else:
            receiver = f"{_RECEIVER} -p" if paused else _RECEIVER
            line = f"exec {ssh} {host_name} {receiver}" if ssh else host_name
            carry_out(title, lambda: begin.migrate(["/bin/sh", "-c", line], timeout=timeout))
        report(found, as_json=as_json)


def dump_core(
    domain: DomainName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, on the host.")],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Write the memory of a domain to a file, as an ELF core. The domain goes on.

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        begin = found.begin
        carry_out(f"dump-core {domain}", lambda: begin.core_dump(file, timeout=timeout))
        report(found, as_json=as_json)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "save": save,
    "restore": restore,
    "migrate": migrate,
    "dump-core": dump_core,
}
"""The commands of this module by name."""
