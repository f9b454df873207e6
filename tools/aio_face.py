"""Write the asyncio face from the blocking one: ``python -m tools.aio_face`` writes it, ``--check`` compares it.

`pyxen.host`, `pyxen.domain` and `pyxen.domains` make every call through ``self._calls``. In `pyxen.aio` that object has
the same methods as coroutines, so a method that uses it becomes ``async``, and each use an ``await``. Signatures,
docstrings and comments stay. Members that cannot be generated are written by hand, in a base class in `pyxen.aio`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "pyxen"

AWAITED = {
    ("pyxen.domain", "Domain"): "pyxen.aio.domain",
    ("pyxen.cpupool", "Cpupool"): "pyxen.aio.cpupool",
    ("pyxen.cpupools", "Cpupools"): "pyxen.aio.cpupools",
    ("pyxen._domain_devices", "DomainDevices"): "pyxen.aio._domain_devices",
    ("pyxen._host_copies", "HostCopies"): "pyxen.aio._host_copies",
    ("pyxen._host_hypervisor", "HostHypervisor"): "pyxen.aio._host_hypervisor",
    ("pyxen._domain_handle", "DomainHandle"): "pyxen.aio._domain_handle",
    ("pyxen._domain_resources", "DomainResources"): "pyxen.aio._domain_resources",
    ("pyxen.readers.console", "ConsoleStream"): "pyxen.aio.readers.console",
    ("pyxen.domains", "Domains"): "pyxen.aio.domains",
    ("pyxen.guests", "Guests"): "pyxen.aio.guests",
    ("pyxen.vm", "Vm"): "pyxen.aio.vm",
    ("pyxen.readers.events", "EventReader"): "pyxen.aio.readers.events",
    ("pyxen.devicetree", "DeviceTree"): "pyxen.aio.devicetree",
    ("pyxen.flask", "Flask"): "pyxen.aio.flask",
    ("pyxen.hypfs", "Hypfs"): "pyxen.aio.hypfs",
    ("pyxen.libvirtverbs", "LibvirtVerbs"): "pyxen.aio.libvirtverbs",
    ("pyxen.livedevices", "LiveDevices"): "pyxen.aio.livedevices",
    ("pyxen.readers.log", "LogReader"): "pyxen.aio.readers.log",
    ("pyxen.host", "Host"): "pyxen.aio.host",
    ("pyxen._host_calls", "HostCall"): "pyxen.aio._host_calls",
    ("pyxen._host_calls", "HostCalls"): "pyxen.aio._host_calls",
    ("pyxen.pool", "Pool"): "pyxen.aio.pool",
    ("pyxen.operation", "Calls"): "pyxen.aio._calls",
    ("pyxen.pcidevices", "PciDevices"): "pyxen.aio.pcidevices",
    ("pyxen.psr", "Psr"): "pyxen.aio.psr",
    ("pyxen.qmp", "Qmp"): "pyxen.aio.qmp",
    ("pyxen.usbdevices", "UsbDevices"): "pyxen.aio.usbdevices",
    ("pyxen.readers.qmp", "QmpEvents"): "pyxen.aio.readers.qmp",
    ("pyxen.readers.xenstore", "XenstoreWatch"): "pyxen.aio.readers.xenstore",
}
"""Names that the asyncio face imports from another module."""

USES = {
    *("self._calls.ask", "self._calls.change", "self._calls.attempt"),
    *("self._calls.finish", "self._calls.finish_each", "self._calls.acquire"),
    *("self._calls.one", "self._calls.each", "self._calls.open", "self._calls.close"),
    *("self._host.stats", "self._host.info"),
    "self._ask_all",
}
"""The calls that are awaited: all methods of ``self._calls``, of one host and of many; what a sampler calls of its
host, and helpers."""


@dataclass(frozen=True)
class Face:
    """A module of the face: one class.

    Attributes:
        module: Its name, in both faces.
        doc: The docstring of the module.
        class_doc: The docstring of its class.
        base: The module and name of the base class that is written by hand.
        by_hand: The members that are not generated from the blocking class.
    """

    module: str
    doc: str
    class_doc: str
    base: tuple[str, str] | None = None
    by_hand: frozenset[str] = frozenset()

    @property
    def target(self) -> Path:
        """The generated file."""
        return PACKAGE / "aio" / f"{self.module}.py"


FACES = (
    Face(
        "_domain_handle",
        "What identifies a domain on a host, for asyncio: the part of `Domain` that all of its verbs use.",
        "The identity of a domain, and its way to the host.",
    ),
    Face(
        "_domain_devices",
        "Devices and consoles of a running domain, for asyncio.",
        "The verbs of `Domain` for devices and consoles, awaited.",
    ),
    Face(
        "_domain_resources",
        "Memory, vCPUs, scheduling and statistics of a running domain, for asyncio.",
        "The verbs of `Domain` for its share of the host, awaited.",
    ),
    Face(
        "livedevices",
        "The devices of one kind of a running domain as a collection, for asyncio.",
        """The devices of one kind that a domain has now, e.g. ``domain.disks``: `pyxen.LiveDevices`, awaited.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    =========================  ============================================
    ``domain.disks["xvda"]``   ``await domain.disks["xvda"]``
    ``"xvda" in disks``        ``await disks.get("xvda") is not None``
    ``for disk in disks``      ``async for disk in disks``
    ``len(disks)``             ``len(await disks.list())``
    =========================  ============================================
    """,
        ("pyxen.aio._livedevices", "LiveDevicesBase[D]"),
        frozenset({"__init__", "__contains__", "__iter__", "__len__", "_repr_html_"}),
    ),
    Face(
        "domain",
        "A domain on a host, for asyncio: a handle with xl's verbs, awaited.",
        """A domain on a host, as `Host.create` and `Host.domains` give it: `pyxen.Domain`, awaited.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: methods
    raise `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """,
    ),
    Face(
        "domains",
        "The domains of a host as a collection, for asyncio.",
        """The domains that a host has now, without those that are dying. Each lookup asks the host; nothing is kept.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    =========================  ==========================================
    ``host.domains["web1"]``   ``await host.domains["web1"]``
    ``"web1" in domains``      ``await domains.get("web1") is not None``
    ``for domain in domains``  ``async for domain in domains``
    ``len(domains)``           ``len([domain async for domain in domains])``
    =========================  ==========================================
    """,
        ("pyxen.aio._domains", "DomainsBase"),
        frozenset({"__init__", "__contains__", "__iter__", "__len__", "_repr_html_", "_ipython_key_completions_"}),
    ),
    Face(
        "hypfs",
        "Xen's own file system (hypfs) as a collection of values, for asyncio.",
        """The values in Xen's own file system, by path: ``await host.hypfs["/buildinfo/version/major"]``.

    Xen keeps what it knows of its build in ``/buildinfo``, and the parameters of its command line that can be changed
    at run time in ``/params``. Nothing is cached. Each call waits for other calls of libxl in this process.
    """,
        ("pyxen.aio._hypfs", "HypfsBase"),
        frozenset({"__init__", "__setitem__", "__contains__", "__iter__", "__len__", "_paths"}),
    ),
    Face(
        "flask",
        "Flask, Xen's security module (XSM), on a host, for asyncio.",
        """Xen's security module: its mode, its policy and its labels. `pyxen.Flask`, awaited.

    Every method raises `UnsupportedFeature` on a Xen that runs without it.
    """,
    ),
    Face(
        "psr",
        "Caches and memory bandwidth of a host (PSR), for asyncio.",
        """Platform shared resources of Intel's CPUs: monitoring and allocation. `pyxen.Psr`, awaited.

    On a host whose CPUs cannot do it, or whose Xen does not run with ``psr=``, `monitoring` and `allocations` say so,
    and every other method raises `UnsupportedFeature`.
    """,
    ),
    Face(
        "qmp",
        "QMP of a domain, for asyncio: commands for its device model, QEMU, and the answers as Python values.",
        """The QEMU of a domain, as ``domain.qmp``: `pyxen.Qmp`, awaited. Creating one does no I/O.

    pyxen uses the socket that libxl gives to other programs, so libxl's own connection is not disturbed. QEMU talks to
    one client of a socket at a time: a command waits while another program, or `Host.stats`, uses it. While a reader of
    `events` is open, commands through the same host go over its connection, those of others wait, and `Host.stats` has
    no counters of the disks that this QEMU serves.
    """,
    ),
    Face(
        "devicetree",
        "The device tree of a host with Arm CPUs, for asyncio.",
        """Overlays of Xen's device tree. Needs Arm and Xen 4.18. `pyxen.DeviceTree`, awaited.""",
    ),
    Face(
        "_host_hypervisor",
        "Xen itself on a host, for asyncio: its log, its debug keys, its parameters.",
        """The verbs of `Host` for Xen itself, awaited.

    Attributes:
        hypfs: The values in Xen's own file system: ``await host.hypfs["/params/loglvl"]``.
        flask: Xen's security module.
        psr: Caches and memory bandwidth: who uses them, and who may.
        device_tree: Overlays of the device tree, on Arm.
    """,
    ),
    Face(
        "_host_copies",
        "The verbs of a host that make many guests alike, for asyncio: clones of a saved guest, and pools.",
        "The verbs of `Host` for many guests alike, awaited.",
    ),
    Face(
        "guests",
        "The guests of a host as a collection, for asyncio.",
        """The current guests of a host: like `Domains`, but without dom0 and without stub domains.

    A stub domain runs the device model of another guest, see `DomainInfo.stubdomain_of`; `Host.domains` has it.
    """,
    ),
    Face(
        "vm",
        "A virtual machine, whatever its domain, for asyncio.",
        """A virtual machine by its uuid, returned by `Host.vm`: `pyxen.Vm`, awaited.

    Each start makes a new domain, with a new domid and the same uuid. A `Domain` is one of these; this handle finds
    the current one at each call: ``await (await vm.domain()).shutdown()``.
    """,
    ),
    Face(
        "xenstore",
        "The xenstore of a host, for asyncio.",
        """The xenstore of a host, as ``host.xenstore``: `pyxen.Xenstore`, awaited.

    If the task of a call is cancelled, it goes on when the call has ended: a change that had begun takes effect, a
    transaction only if its commit had begun.
    """,
    ),
    Face(
        "cpupool",
        "A CPU pool of a host, for asyncio: a handle with xl's verbs, awaited.",
        """A CPU pool, as `Host.cpupools` gives it: `pyxen.Cpupool`, awaited.

    A handle holds the pool's number and uuid, so it never refers to a later pool that reuses the number. Every method
    raises `NotFound` once the pool is gone. Attributes are local; only methods talk to the host.
    """,
    ),
    Face(
        "cpupools",
        "The CPU pools of a host as a collection, for asyncio.",
        """The current CPU pools of a host. Each lookup asks the host; nothing is cached.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    ============================  =============================================
    ``host.cpupools["Pool-0"]``   ``await host.cpupools["Pool-0"]``
    ``"Pool-0" in cpupools``      ``await cpupools.get("Pool-0") is not None``
    ``for pool in cpupools``      ``async for pool in cpupools``
    ``len(cpupools)``             ``len(await cpupools.list())``
    ============================  =============================================
    """,
        ("pyxen.aio._cpupools", "CpupoolsBase"),
        frozenset({"__init__", "__contains__", "__iter__", "__len__", "_repr_html_", "_ipython_key_completions_"}),
    ),
    Face(
        "pcidevices",
        "The PCI devices of a host as a collection, for asyncio.",
        """The current PCI devices of a host: `pyxen.PciDevices`, awaited. Each lookup asks the host; nothing is cached.

    ``await host.pci["03:00.0"]`` looks one up, and ``async for device in host.pci`` yields all.
    """,
        ("pyxen.aio._hostdevices", "PciDevicesBase"),
        frozenset({"__init__", "__contains__", "__iter__", "__len__", "_repr_html_", "_ipython_key_completions_"}),
    ),
    Face(
        "usbdevices",
        "The USB devices of a host as a collection, for asyncio.",
        """The current USB devices of a host: `pyxen.UsbDevices`, awaited. Each lookup asks the host; nothing is cached.

    ``await host.usb["1-2"]`` looks one up, and ``async for device in host.usb`` yields all.
    """,
        ("pyxen.aio._hostdevices", "UsbDevicesBase"),
        frozenset({"__init__", "__contains__", "__iter__", "__len__", "_repr_html_", "_ipython_key_completions_"}),
    ),
    Face(
        "libvirtverbs",
        "What only libvirt can do, with a host and with its domains, for asyncio.",
        """What libvirt has and other backends do not: `pyxen.LibvirtVerbs`, awaited.

    ``live`` stands for the running domain, ``config`` for its definition, which its next start uses.
    """,
    ),
    Face(
        "host",
        "A host, for asyncio.",
        """A host that runs domains, as `pyxen.aio.connect` gives it: `pyxen.Host`, awaited.

    Use it as an async context manager, or await `close`: a host that is not closed keeps connections open. It is not
    bound to a loop.

    Attributes:
        domains: The domains by name, domid or uuid: ``await host.domains["web1"]``.
        hypfs: The values in Xen's own file system: ``await host.hypfs["/params/loglvl"]``.
        flask: Xen's security module.
        psr: Caches and memory bandwidth: who uses them, and who may.
        device_tree: Overlays of the device tree, on Arm.
        guests: The domains without dom0 and without stub domains, looked up in the same way.
        xenstore: The xenstore: ``await host.xenstore.read("/local/domain/0/name")``.
        cpupools: The CPU pools by name or number: ``await host.cpupools["Pool-0"]``.
        pci: The host's PCI devices by address or name: ``await host.pci["03:00.0"]``.
        usb: The host's USB devices by port, or by bus and address: ``await host.usb["1-2"]``.
        libvirt: What only libvirt has, such as managed saves and networks.
    """,
        ("pyxen.aio._host", "HostBase"),
        frozenset({"__init__", "__enter__", "__exit__", "__del__", "close", "_reader"}),
    ),
    Face(
        "hosts",
        "Many hosts at once, for asyncio: a mapping of names to hosts, asked side by side.",
        """Many hosts by name, asked side by side: `pyxen.Hosts`, awaited. Each answers in its place.

    ::

        async with pyxen.aio.Hosts.load("hosts.toml") as hosts:
            for name, answer in (await hosts.list()).items():
                print(name, len(answer.value) if answer.ok else answer.error)

    A host by its name is ``await hosts["host1"]``. If a task is cancelled, the calls that it makes are, too.
    """,
        ("pyxen.aio._hosts", "HostsBase"),
        frozenset({"__enter__", "__exit__"}),
    ),
    Face(
        "pool",
        "A pool of guests that are ready before they are needed, for asyncio.",
        """Guests that are ready before they are needed: `pyxen.Pool`, awaited.

    ::

        async with await host.pool(config, size=8) as pool:
            web = await pool.take("web1", vifs=[Vif(bridge="xenbr0")])

    They are paused until they are taken, and named ``NAME--ready-…`` until then. New ones are made in the background.
    Use it as a context manager, or await `close`. Closing the host closes it, too.
    """,
        ("pyxen.aio._pool", "PoolBase"),
        frozenset({"__enter__", "__exit__", "__del__", "close"}),
    ),
    Face(
        "sampler",
        "Rates of a host's domains, for asyncio: CPU, disk and network usage between two samples.",
        """Samples the statistics of all domains of a host: `pyxen.Sampler`, awaited.

    ::

        sampler = pyxen.aio.Sampler(xen)
        await sampler.sample()
        while True:
            await asyncio.sleep(1)
            for rates in await sampler.sample():
                print(rates.stats.info.name, rates.cpu_percent, rates.read_bytes_per_s, rates.rx_bytes_per_s)

    Use a sampler from one task at a time. Creating one does no I/O.

    Args:
        host: The host. The sampler does not close it.
    """,
    ),
)


class Edits:
    """Edits of a text, by position."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._made: list[tuple[int, int, str]] = []

    def at(self, line: int, column: int) -> int:
        """Return the position of a line, from 1, and a column, from 0 and in bytes, as `ast` counts them."""
        before = sum(len(each) for each in self._lines[: line - 1])
        return before + len(self._lines[line - 1].encode()[:column].decode())

    def replace(self, node: ast.stmt | ast.expr, text: str) -> None:
        """Replace a node by a text."""
        start = self.at(node.lineno, node.col_offset)
        end = self.at(node.end_lineno or node.lineno, node.end_col_offset or 0)
        self._made.append((start, end, text))

    def drop(self, first: int, last: int) -> None:
        """Remove lines."""
        self._made.append((self.at(first, 0), self.at(last, 0) + len(self._lines[last - 1]), ""))

    def splice(self, start: int, end: int, text: str) -> None:
        """Replace the text between two positions."""
        self._made.append((start, end, text))

    def insert(self, node: ast.stmt | ast.expr, text: str) -> None:
        """Insert a text before a node."""
        position = self.at(node.lineno, node.col_offset)
        self._made.append((position, position, text))

    def text(self) -> str:
        """Return the changed text."""
        text = "".join(self._lines)
        for start, end, new in sorted(self._made, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def awaited(face: Face) -> str:
    """Return the source of a module of the asyncio face."""
    source = (PACKAGE / f"{face.module}.py").read_text()
    tree = ast.parse(source)
    edits = Edits(source)
    header = f'"""{face.doc}\n\nGenerated from `pyxen.{face.module}` by ``python -m tools.aio_face``: do not edit.\n"""'
    edits.replace(tree.body[0], header)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            _change_import(edits, node)
        elif isinstance(node, ast.ClassDef):
            _change_class(edits, node, face)
    text = edits.text()
    if face.base is not None:
        module, name = face.base
        name = name.partition("[")[0]
        text = text.replace("\nfrom pyxen.", f"\nfrom {module} import {name}\nfrom pyxen.", 1)
    return _formatted(text, face.target)


def _change_import(edits: Edits, node: ast.ImportFrom) -> None:
    lines = []
    for alias in node.names:
        module = AWAITED.get((str(node.module), alias.name), node.module)
        lines.append(f"from {module} import {alias.name}")
    edits.replace(node, "\n".join(lines))


def _change_class(edits: Edits, node: ast.ClassDef, face: Face) -> None:
    doc = node.body[0]
    edits.replace(doc, f'"""{face.class_doc}"""')
    if face.base is not None:
        before = edits.at(node.lineno, node.col_offset)
        after = edits.at(doc.lineno, 0)
        edits.splice(before, after, f"class {node.name}({face.base[1]}):\n")
    for member in node.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        if member.name in face.by_hand:
            first = min([member.lineno, *(each.lineno for each in member.decorator_list)])
            edits.drop(first, member.end_lineno or first)
            continue
        uses = [call for call in ast.walk(member) if isinstance(call, ast.Call) and _is_use(call)]
        for call in uses:
            edits.insert(call, "await ")
        if uses:
            edits.insert(member, "async ")


def _is_use(node: ast.Call) -> bool:
    return ast.unparse(node.func) in USES


def _formatted(text: str, name: Path) -> str:
    """Return the text formatted by ruff, with sorted imports and without unused ones."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        [*ruff, "check", "--fix-only", "--quiet", "--select", "I,F401", "--stdin-filename", str(name), "-"],
        [*ruff, "format", "--quiet", "--stdin-filename", str(name), "-"],
    ):
        done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=True, timeout=60)
        text = done.stdout
    return text


def main(arguments: list[str]) -> int:
    """Write the face; with ``--check``, only report which of its modules are out of date."""
    stale = [face for face in FACES if not face.target.exists() or face.target.read_text() != awaited(face)]
    for face in stale:
        print(f"{face.target.relative_to(ROOT)}: not what tools/aio_face.py makes of pyxen.{face.module}")
        if "--check" not in arguments:
            face.target.write_text(awaited(face))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
