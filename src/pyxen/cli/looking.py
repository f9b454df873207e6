"""Commands that look: domains, the host, uptimes, where to connect to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from pyxen._printable import quoted
from pyxen.cli.options import AsJson, DomainName, DomainNames, Uri
from pyxen.cli.output import document, say, table
from pyxen.cli.quick import LIST_HEAD, LIST_NUMBERS
from pyxen.cli.session import domain_of, host_at, warn_of_sxp
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, NotFound, UnsupportedFeature
from pyxen.host import Host
from pyxen.records.info import DomainInfo, HostInfo
from pyxen.records.topology import Topology

__all__ = ["COMMANDS"]

_NS_PER_S: Final = 10**9
_KIB_PER_MIB: Final = 1024


def list_domains(
    domains: DomainNames = None,
    uri: Uri = "",
    *,
    long: Annotated[bool, typer.Option("--long", "-l", help="Print the configurations, as libxl's JSON.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show types, uuids, security labels and why domains ended, too.")
    ] = False,
    cpupool: Annotated[bool, typer.Option("--cpupool", "-c", help="Show the CPU pools, too.")] = False,
    numa: Annotated[
        bool, typer.Option("--numa", "-n", help="Show the NUMA nodes from which Xen takes their memory, too.")
    ] = False,
    context: Annotated[bool, typer.Option("--context", "-Z", help="Show the security labels in words, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List domains: all of them, or those that are named.

    Mem is in MiB, Time(s) is the CPU time used, in seconds.

    Example: pyxen list --long web1

    JSON: a list of DomainInfo; with --numa each has nodes, too, and with --context a label. With
    --long, a list of objects with domid and config, which is libxl's JSON, or null for a domain that has none.
    """
    with host_at(uri) as host:
        infos = _chosen(host, domains)
        if long:
            warn_of_sxp(uri)
            document([{"domid": info.domid, "config": _config_of(info.domain)} for info in infos])
            return
        nodes = {info.domid: _nodes(info.domain) for info in infos} if numa else {}
        labels = {info.domid: _label(host, info) for info in infos} if context else {}
    if as_json:
        more: dict[str, Mapping[int, object]] = {"nodes": nodes} if numa else {}
        more |= {"label": labels} if context else {}
        document([info.to_dict() | {name: values[info.domid] for name, values in more.items()} for info in infos])
        return
    head = [*LIST_HEAD]
    head += ["Type", "UUID", "Reason", "Label"] if verbose else []
    head += ["Cpupool"] if cpupool else []
    head += ["NODE Affinity"] if numa else []
    head += ["Context"] if context else []
    rows = []
    for info in infos:
        row: list[object] = [info.name, info.domid, info.memory_kib // _KIB_PER_MIB, info.vcpus, info.state]
        row.append(f"{info.cpu_time_ns / _NS_PER_S:.1f}")
        row += [info.type, info.uuid, info.to_dict()["shutdown_reason"], info.ssidref] if verbose else []
        row += [info.pool if info.pool is not None else info.poolid] if cpupool else []
        row += [_joined(nodes[info.domid])] if numa else []
        row += [labels[info.domid]] if context else []
        rows.append(row)
    table(head, rows, numbers=LIST_NUMBERS)


def _joined(nodes: list[int] | None) -> str | None:
    return None if nodes is None else ",".join(map(str, nodes))


def _nodes(domain: Domain) -> list[int] | None:
    """Return the nodes from which Xen takes a domain's memory; None if the domain has gone."""
    try:
        return list(domain.node_affinity())
    except DomainNotFound:
        return None


def _label(host: Host, info: DomainInfo) -> str | None:
    """Return the security label of a domain in words; None if this Xen has no Flask."""
    try:
        return host.flask.label(info)
    except UnsupportedFeature:
        return None


def _chosen(host: Host, keys: list[str] | None) -> list[DomainInfo]:
    return [domain_of(host, key).info() for key in keys] if keys else host.list()


def _config_of(domain: Domain) -> Any:
    from pyxen import libxljson

    try:
        return json.loads(libxljson.dumps(domain.config(), on_loss="warn"))
    except NotFound:  # another toolstack made it, or nobody has, such as dom0
        return None


def info(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this figure alone.")] = None,
    uri: Uri = "",
    *,
    numa: Annotated[bool, typer.Option("--numa", "-n", help="Show CPUs and NUMA nodes, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show figures of the host, by xl's names and in xl's units: memory is in MiB.

    Example: pyxen info --json

    JSON: a HostInfo; with --numa it has topology, too, which is a Topology.
    """
    if name is not None and (numa or as_json):
        raise typer.BadParameter("one figure is a text: leave out --numa and --json")
    with host_at(uri) as host:
        figures = host.info()
        topology = host.topology() if numa else None
    if as_json:
        more = {} if topology is None else {"topology": topology.to_dict()}
        document(figures.to_dict() | more)
        return
    shown = _figures(figures)
    if name is not None:
        if name not in shown:
            raise typer.BadParameter(f"{quoted(name)} is not one of {', '.join(shown)}")
        say(shown[name])
        return
    for title, value in shown.items():
        if value is not None:
            say(f"{title:<22}:", value)
    if topology is not None:
        _show_topology(topology)


def _figures(info: HostInfo) -> dict[str, object]:
    """Return what ``xl info`` prints, in its order."""
    try:
        major, minor, extra = info.xen_version_info
    except ValueError:  # not Xen's, but that of another hypervisor of libvirt's
        major, minor, extra = None, None, None
    return {
        "host": info.hostname,
        "release": info.kernel_release,
        "version": info.kernel_version,
        "machine": info.machine,
        "nr_cpus": info.nr_cpus,
        "max_cpu_id": info.max_cpu_id,
        "nr_nodes": info.nr_nodes,
        "cores_per_socket": info.cores_per_socket,
        "threads_per_core": info.threads_per_core,
        "cpu_mhz": f"{info.cpu_khz / 1000:.3f}",
        "hw_caps": None if info.hw_caps is None else ":".join(f"{word:08x}" for word in info.hw_caps),
        "virt_caps": None if info.capabilities is None else " ".join(sorted(info.capabilities)),
        "total_memory": info.memory_kib // _KIB_PER_MIB,
        "free_memory": info.free_memory_kib // _KIB_PER_MIB,
        "sharing_freed_memory": _mib(info.sharing_freed_kib),
        "sharing_used_memory": _mib(info.sharing_used_kib),
        "outstanding_claims": _mib(info.claimed_memory_kib),
        "free_cpus": info.free_cpus,
        "xen_major": major,
        "xen_minor": minor,
        "xen_extra": extra,
        "xen_version": info.xen_version,
        "xen_caps": None if info.xen_caps is None else " ".join(info.xen_caps),
        "xen_scheduler": info.xen_scheduler,
        "xen_pagesize": info.xen_pagesize,
        "platform_params": None if info.virt_start is None else f"virt_start={info.virt_start:#x}",
        "xen_changeset": info.xen_changeset,
        "xen_commandline": info.xen_commandline,
        "cc_compiler": info.cc_compiler,
        "cc_compile_by": info.cc_compile_by,
        "cc_compile_domain": info.cc_compile_domain,
        "cc_compile_date": info.cc_compile_date,
        "build_id": info.build_id,
    }


def _mib(kib: int | None) -> int | None:
    return None if kib is None else kib // _KIB_PER_MIB


def _show_topology(topology: Topology) -> None:
    cpus = [(cpu.number, cpu.core, cpu.socket, cpu.node, cpu.poolid) for cpu in topology.cpus]
    table(["cpu", "core", "socket", "node", "pool"], cpus, numbers=["cpu", "core", "socket", "node", "pool"])
    nodes = [
        (node.number, _mib(node.memory_kib), _mib(node.free_memory_kib), ",".join(str(one) for one in node.distances))
        for node in topology.nodes
    ]
    table(["node", "memsize", "memfree", "distances"], nodes, numbers=["node", "memsize", "memfree"])
    places = [(place.address, place.node) for place in topology.pci or ()]
    if places:
        table(["device", "node"], places, numbers=["node"])


def uptime(domains: DomainNames = None, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show since when domains exist.

    Example: pyxen uptime web1

    JSON: a list of DomainUptime.
    """
    with host_at(uri) as host:
        uptimes = [domain_of(host, key).uptime() for key in domains] if domains else host.uptimes()
    if as_json:
        document([each.to_dict() for each in uptimes])
        return
    rows = [
        (each.name, each.domid, None if each.uptime_s is None else timedelta(seconds=int(each.uptime_s)))
        for each in uptimes
    ]
    table(["Name", "ID", "Uptime"], rows, numbers=["ID", "Uptime"])


def vm_list(uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the uuids of the guests.

    Example: pyxen vm-list

    JSON: a list of DomainInfo.
    """
    with host_at(uri) as host:
        guests = {guest.domid for guest in host.guests}  # without stub domains, and the domain of xenstored
        infos = [info for info in host.list() if info.domid in guests]
    if as_json:
        document([info.to_dict() for info in infos])
    else:
        table(["UUID", "ID", "Name"], [(info.uuid, info.domid, info.name) for info in infos], numbers=["ID"])


def sharing(domains: DomainNames = None, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show how much memory domains share with others, in MiB.

    Example: pyxen sharing web1

    JSON: a list of DomainInfo.
    """
    with host_at(uri) as host:
        infos = _chosen(host, domains)
    if as_json:
        document([info.to_dict() for info in infos])
        return
    rows = [(info.name, info.domid, _mib(info.memory_kib), _mib(info.shared_kib)) for info in infos]
    table(["Name", "ID", "Mem", "Shared"], rows, numbers=["ID", "Mem", "Shared"])


def claims(uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show the memory that is reserved for domains and that they do not have yet, in MiB.

    Example: pyxen claims

    JSON: a list of DomainInfo.
    """
    with host_at(uri) as host:
        infos = host.list()
    if as_json:
        document([info.to_dict() for info in infos])
        return
    rows = [(info.name, info.domid, _mib(info.memory_kib), _mib(info.claimed_kib)) for info in infos]
    table(["Name", "ID", "Mem", "Claimed"], rows, numbers=["ID", "Mem", "Claimed"])


def domid(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Print the domid of a domain.

    Example: pyxen domid web1

    JSON: an object with domid, name and uuid.
    """
    _identify(domain, uri, "domid", as_json=as_json)


def domname(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Print the name of a domain.

    Example: pyxen domname 5

    JSON: an object with domid, name and uuid.
    """
    _identify(domain, uri, "name", as_json=as_json)


def _identify(key: str, uri: str, what: str, *, as_json: bool) -> None:
    with host_at(uri) as host:
        found = domain_of(host, key)
        names = {"domid": found.domid, "name": found.name, "uuid": str(found.uuid)}
        if as_json:
            document(names)
        elif names[what] is None:
            raise NotFound(f"domain {found.domid} has no {what}")
        else:
            say(names[what])


def endpoints(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show what a program can connect to: VNC and SPICE servers, consoles and channels.

    Example: pyxen endpoints web1

    JSON: an Endpoints. It has the passwords; the table has none.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain).endpoints()
    if as_json:
        document(found.to_dict())
        return
    rows: list[tuple[object, ...]] = []
    if found.vnc is not None:
        rows.append(("vnc", None, _address(found.vnc.address, found.vnc.port)))
    if found.spice is not None:
        ports = found.spice.port if found.spice.port is not None else found.spice.tls_port
        rows.append(("spice", None, _address(found.spice.address or "*", ports)))
    rows += [("console", f"{console.type} {console.number}", console.path) for console in found.consoles]
    rows += [("channel", channel.name, channel.path) for channel in found.channels]
    table(["Kind", "Name", "Where"], rows)


def _address(address: str, port: int | None) -> str:
    shown = f"[{address}]" if ":" in address else address
    return address if port is None else f"{shown}:{port}"


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "list": list_domains,
    "info": info,
    "uptime": uptime,
    "claims": claims,
    "sharing": sharing,
    "vm-list": vm_list,
    "domid": domid,
    "domname": domname,
    "endpoints": endpoints,
}
"""The commands of this module by name."""
