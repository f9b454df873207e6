"""Commands that move the memory of a domain: to a file, from one, to another host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer

from pyxen.cli.options import AsJson, DomainName, Timeout, Uri
from pyxen.cli.output import say
from pyxen.cli.progress import carry_out
from pyxen.cli.session import config_of, destroyed, domain_of, host_at, report, stays
from pyxen.cli.viewer import OpenAutopass, Vnc, check_screen, needed_viewer, open_viewer
from pyxen.config import DomainConfig
from pyxen.domain import Domain
from pyxen.remus import RemusOptions

__all__ = ["COMMANDS"]

_RECEIVER: Final = "xl migrate-receive"
_MS_PER_S: Final = 1000

SameDomid = Annotated[bool, typer.Option("-D", help="Let it keep its domid, if that is free there.")]


def save(
    domain: DomainName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, on the host.")],
    config_file: Annotated[
        str | None,
        typer.Argument(metavar="CONFIGFILE", help="The configuration to be restored with.", show_default=False),
    ] = None,
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    checkpoint: Annotated[bool, typer.Option("--checkpoint", "-c", help="Let the guest continue afterwards.")] = False,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave the domain paused afterwards.")] = False,
    same_domid: SameDomid = False,
    as_json: AsJson = False,
) -> None:
    """Save a domain to a file, and end it. The file appears when it is complete.

    Example: pyxen save web1 /srv/web1.save

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        config = _later(found, None if config_file is None else config_of(config_file), same_domid)
        begin = found.begin
        carry_out(
            f"save {domain}",
            lambda: begin.save(file, config=config, checkpoint=checkpoint, leave_paused=paused, timeout=timeout),
        )
        report(found, as_json=as_json)


def _later(domain: Domain, config: DomainConfig | None, same_domid: bool) -> DomainConfig | None:
    """Return the configuration that a domain has after it was moved; None: the one that it has."""
    if not same_domid:
        return config
    return (domain.config() if config is None else config).replace(domid=domain.domid)


def restore(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="The file; before it, a configuration that replaces the one in it."),
    ],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave it paused.")] = False,
    vnc: Vnc = False,
    autopass: OpenAutopass = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the domid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a domain from a file that save wrote. The file stays.

    Example: pyxen restore /srv/web1.save

    JSON: an object with domid, name and uuid.
    """
    if len(files) > 2:
        raise typer.BadParameter("takes a saved domain, and before it a configuration")
    with host_at(uri) as host:
        config = config_of(files[0]) if len(files) == 2 else None
        if vnc or autopass:
            needed_viewer()
            if config is not None:  # else it is in the file, on the host
                check_screen(config)

        domain = carry_out(
            f"restore {files[-1]}",
            lambda: host.begin.restore(files[-1], config, paused=paused, timeout=timeout),
            undo=partial(destroyed, host),
        )
        with stays(domain):
            if domain.name is None:
                domain.info()  # which tells its name
            report(domain, as_json=as_json)
            if not (as_json or quiet):
                say(domain.name, "has domid", domain.domid)
            if vnc or autopass:
                open_viewer(domain, uri, autopass=autopass)


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
    new_config: Annotated[
        str | None,
        typer.Option("-C", metavar="FILE", help="Its configuration there, as a file; - is stdin.", show_default=False),
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave it paused there.")] = False,
    same_domid: SameDomid = False,
    as_json: AsJson = False,
) -> None:
    """Move a running domain to another host. The receiver there is xl or pyxen.

    If it fails or is interrupted, the domain continues here.

    Example: pyxen migrate web1 host2

    JSON: an object with domid, name and uuid: those that it had here.
    """
    if ssh == "" and paused:
        raise typer.BadParameter('with -s "", the command of the receiver takes -p itself')
    title = f"migrate {domain} to {host_name}"
    with host_at(uri) as host:
        found = domain_of(host, domain)
        config = _later(found, None if new_config is None else config_of(new_config), same_domid)
        begin = found.begin
        if ssh is None:
            carry_out(title, lambda: begin.migrate(host_name, config=config, paused=paused, timeout=timeout))
        else:
            command = _over(ssh, host_name, f"{_RECEIVER} -p" if paused else _RECEIVER)
            carry_out(title, lambda: begin.migrate(command, config=config, timeout=timeout))
        report(found, as_json=as_json)


def _over(ssh: str, host_name: str, receiver: str) -> list[str]:
    """Return the command that runs a receiver on another host as xl's -s says; an empty one: the host is all of it."""
    line = f"exec {ssh} {host_name} {receiver}" if ssh else host_name
    return ["/bin/sh", "-c", line]


def remus(
    domain: DomainName,
    host_name: Annotated[
        str | None,
        typer.Argument(metavar="HOST", help='A host for ssh; with -s "", a command line for sh.', show_default=False),
    ] = None,
    uri: Uri = "",
    timeout: Timeout = None,
    ssh: Annotated[
        str | None,
        typer.Option("-s", metavar="COMMAND", help="What to use instead of ssh; empty: HOST is the whole command."),
    ] = None,
    interval: Annotated[
        int, typer.Option("-i", metavar="MS", min=1, help="Milliseconds between two checkpoints.")
    ] = 200,
    netbufscript: Annotated[
        str | None, typer.Option("-N", metavar="SCRIPT", help="Script that sets up network buffering.")
    ] = None,
    *,
    blackhole: Annotated[bool, typer.Option("-b", help="Send the copy nowhere, to measure the cost. Unsafe.")] = False,
    no_netbuf: Annotated[bool, typer.Option("-n", help="Do not hold back the guest's network output. Unsafe.")] = False,
    no_diskbuf: Annotated[bool, typer.Option("-d", help="Do not replicate its disks. Unsafe.")] = False,
    unsafe: Annotated[bool, typer.Option("-F", help="Allow what is unsafe.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a copy of a domain on another host, which takes over if this one is lost.

    It runs until the domain is destroyed here, or until Ctrl-C: then the copy is called off, and the domain continues
    here.

    Example: pyxen remus web1 host2

    JSON: an object with domid, name and uuid, when the domain was destroyed.
    """
    if (host_name is None) != blackhole:
        raise typer.BadParameter("name a host, or give -b" if host_name is None else "name a host or give -b, not both")
    with host_at(uri) as host:
        found = domain_of(host, domain)
        options = RemusOptions(
            interval=interval / _MS_PER_S,
            netbuf=not no_netbuf,
            diskbuf=not no_diskbuf,
            netbufscript=netbufscript,
            allow_unsafe=unsafe,
        )
        to: str | list[str] | None = host_name
        if host_name is not None and ssh is not None:
            to = _over(ssh, host_name, f"{_RECEIVER} -r")
        begin = found.begin
        carry_out(None, lambda: begin.remus(to, options, timeout=timeout))
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

    Example: pyxen dump-core web1 /srv/web1.core

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
    "remus": remus,
    "dump-core": dump_core,
}
"""The commands of this module by name."""
