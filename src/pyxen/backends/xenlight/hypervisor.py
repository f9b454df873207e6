"""Read-only queries that bypass libxl, so that lists and figures need not wait for a create in progress.

The libxenctrl handle is opened NON_REENTRANT and used by one thread at a time. So it never takes libxencall's
process-wide lock, which a child of libxl may have inherited locked (see `pyxen.backends.xenlight.libxl.lock`).

The connection to xenstore has turns of its own, so that what only Xen is asked never waits for xenstored.

A signal handler that interrupts a query of its own thread uses another handle and another connection, which are closed
at the end of the handler's query. It must not mix up answers that are half read.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.rows import (
    AT,
    DECODERS,
    HANDLE,
    KEY,
    POOL,
    Row,
    domain_info,
    has_run,
    may_be_stub,
    possible_stubs,
    unpacked,
)
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.backends.xenlight.xenstore.names import Key, Names
from pyxen.backends.xenlight.xenstore.nodes import look, read_dom0s, read_values
from pyxen.backends.xenlight.xenstore.stubdomains import StubDomains, target_node, target_of
from pyxen.backends.xenlight.xenstore.turns import Turns
from pyxen.errors import ConnectFailed, HostClosed, OperationFailed
from pyxen.records.info import DomainInfo, DomainState, decoded_later

__all__ = ["Hypervisor", "Vcpu", "refused"]


class Vcpu(NamedTuple):
    """A vCPU."""

    time_ns: int
    """CPU time that it has used, in nanoseconds."""
    online: bool
    """Whether the guest has brought it online."""


_PAGE_KIB = 4
_LAST_DOMID = 0x7FFF  # DOMID_MASK
_MOST_AT_ONCE = 1024
_TRIES = 20  # attempts to change a node that others change, too
_AT_XEN: Final = 1.0  # seconds that one thread uses libxenctrl's handle at most
_CLOSED: Final = "the host is closed, or was opened before a fork: open it again"
_ROOM = 16  # spare rows for new domains, so that one hypercall still suffices


_Reserved = TypeVar("_Reserved", "_Xen", "_Xenstore")


class _Xen:
    """A handle of libxenctrl's. For one thread at a time.

    Raises:
        ConnectFailed: libxenctrl does not open.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.sink = LogSink()
        # libxenctrl copies as many rows as are requested, used or not, so request few more than there were last time.
        self._at_once = _ROOM
        self._buffer = ffi.new("xc_domaininfo_t[]", self._at_once)
        self.handle: CData = lib.xc_interface_open(self.sink.logger, self.sink.logger, lib.XC_OPENFLAG_NON_REENTRANT)
        """The ``xc_interface``; NULL when it is closed."""
        if self.handle == ffi.NULL:
            self.sink.free()
            raise ConnectFailed(f"libxenctrl does not open: {os.strerror(ffi.errno)}")

    @property
    def is_open(self) -> bool:
        """Whether it is neither closed, nor that of the parent of this process."""
        return self.handle != ffi.NULL and self._pid == os.getpid()

    def close(self) -> None:
        """Close it."""
        lib.xc_interface_close(self.handle)
        self.handle = ffi.NULL
        self.sink.flush()
        self.sink.free()

    def rows(self) -> list[Row]:
        """Return what Xen says of all domains."""
        rows: list[Row] = []
        while True:
            more = self.ask(rows[-1][AT["domain"]] + 1 if rows else 0, self._at_once)
            rows += more
            if len(more) < self._at_once:
                self._make_room(len(rows))
                return rows

    def _make_room(self, domains: int) -> None:
        at_once = min(domains + _ROOM, _MOST_AT_ONCE)
        if at_once > len(self._buffer):
            self._buffer = ffi.new("xc_domaininfo_t[]", at_once)
        self._at_once = at_once  # last: libxenctrl writes so many rows, and Ctrl-C may interrupt between any two lines

    def ask(self, first: int, most: int) -> list[Row]:
        """Return what Xen says of so many domains at most, from a domid on."""
        if not self.is_open:
            raise HostClosed(_CLOSED)
        count = lib.xc_domain_getinfolist(self.handle, first, most, self._buffer)
        if count < 0:
            raise refused("list", "Xen does not list its domains")
        return unpacked(self._buffer, count)


class _Xenstore:
    """A connection to xenstore, with what was read over it. For one thread at a time.

    Raises:
        ConnectFailed: xenstore cannot be reached.
    """

    def __init__(self) -> None:
        self.connection = Connection(repeats=True)
        self.stubdomains = StubDomains(self.connection)
        self._names = Names(self.connection)
        self._keys: list[tuple[int, bytes]] = []

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def keys_of(self, rows: Sequence[Row]) -> list[tuple[int, bytes]]:
        """Return what identifies the domains: the same objects as before while the domains are the same.

        Names and stub domains are then looked up by objects that were looked up before, which is quicker.
        """
        keys = [*map(KEY, rows)]
        if keys != self._keys:
            self._keys = keys
        return self._keys

    def names_of(self, rows: Sequence[Row], keys: Sequence[tuple[int, bytes]]) -> Mapping[Key, str | None]:
        """Return the names of all domains, and of the CPU pools that they are in."""
        pools = {row[POOL]: None for row in rows}
        return self._names.of([*keys, *pools.items()])


class Hypervisor:
    """Reads domains and figures of the host. Thread-safe.

    Raises:
        ConnectFailed: libxenctrl or xenstore cannot be opened.
    """

    def __init__(self) -> None:
        self._at_xen = Turns(_AT_XEN)  # at libxenctrl's handle
        self._at_xenstore = Turns()  # at the connection to xenstore; taken before the other, if both are
        self._closing = False
        self._pid = os.getpid()
        self._xen = _Xen()
        self._sink = self._xen.sink
        try:
            self._store = _Xenstore()
        except BaseException:
            self._xen.close()
            raise
        self._places: dict[str | UUID, int] = {}  # domids by name and uuid when `find` listed all domains

    @property
    def generation(self) -> int:
        """How often it has connected to xenstore; more than before: xenstored was restarted."""
        return self._store.connection.generation

    @property
    def xenstored(self) -> str | None:
        """The address of xenstored's socket; None if xenstored is in a domain of its own."""
        return self._store.connection.peer

    def forked(self) -> None:
        """Release it in the child of a fork: the connection to xenstore belongs to the parent."""
        self._xen.handle = ffi.NULL

    def _open(self) -> AbstractContextManager[_Xen]:
        """Reserve libxenctrl's handle for one thread. See `_reserved`."""
        return self._reserved(self._at_xen.tried(), self._xen, _Xen)

    def _asking(self) -> AbstractContextManager[_Xenstore]:
        """Reserve the connection to xenstore for one thread. See `_reserved`.

        A thread that also asks Xen meanwhile reserves libxenctrl's handle for that.
        """
        return self._reserved(self._at_xenstore.taken(), self._store, _Xenstore)

    @contextlib.contextmanager
    def _reserved(
        self, turn: AbstractContextManager[bool], shared: _Reserved, another: Callable[[], _Reserved]
    ) -> Iterator[_Reserved]:
        """Take a turn at what is shared. libxl's lock is released meanwhile, so that libxl does not wait.

        Yields:
            What to ask in the block: another one, opened for the block, where this thread gets no turn.

        Raises:
            HostClosed: It was closed, or belongs to the parent of this process.
            ConnectFailed: xenstored did not answer another thread meanwhile, or another one does not open.
        """
        self._check_open()  # check first: after a fork, a thread that was not copied may have the turn
        if self._closing:
            raise HostClosed(_CLOSED)
        with LIBXL.released():
            try:
                with turn as has_turn:
                    self._check_open()
                    if has_turn:
                        yield shared
                    else:
                        with contextlib.closing(another()) as own:
                            yield own
            finally:
                self._sink.flush()
                if self._closing:
                    self._close_if_unused()

    @contextlib.contextmanager
    def handle(self) -> Iterator[CData]:
        """Reserve libxenctrl's handle for one thread, for the queries that have a module of their own.

        Raises:
            HostClosed: It was closed, or belongs to the parent of this process.
        """
        with self._open() as xen:
            yield xen.handle

    def close(self) -> None:
        """Close both connections, after the queries that use them. Calling it again does nothing."""
        if self._pid != os.getpid():
            return
        self._closing = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        """Close both connections, unless a signal handler interrupted a query: that closes them at its end."""
        with self._at_xenstore.tried() as has_xenstore, self._at_xen.tried() as has_xen:
            if has_xenstore and has_xen and self._xen.handle != ffi.NULL:
                self._xen.close()
                self._store.close()

    def domains(self) -> list[DomainInfo]:
        """Return all domains, sorted by domid."""
        return self.domains_at()[1]

    def domains_at(self) -> tuple[int, list[DomainInfo]]:
        """Return all domains, sorted by domid, and when Xen was asked, on the clock of `time.monotonic_ns`."""
        with self._asking() as store:
            with self._open() as xen:
                moment = time.monotonic_ns()
                rows = xen.rows()
            keys = store.keys_of(rows)
            names = store.names_of(rows, keys)
            stubs = store.stubdomains.of(keys, lambda: possible_stubs(rows), lambda place: has_run(rows[place]))
            pools = {number: names[number, None] for number in {row[POOL] for row in rows}}
            sources = [
                (DECODERS, row, names[key], pools[row[POOL]], stubs.get(key))
                for row, key in zip(rows, keys, strict=True)
            ]
        return moment, decoded_later(sources)

    def named(self, name: str) -> list[int]:
        """Return the domids of the domains with a name, of which there can be several for a moment."""
        with self._asking() as store:
            with self._open() as xen:
                rows = xen.rows()
            keys = store.keys_of(rows)
            names = store.names_of(rows, keys)
            return [key[0] for key in keys if names[key] == name]

    def with_uuid(self, uuid: UUID) -> list[DomainInfo]:
        """Return the domains with a uuid, without their names: with one hypercall, and without xenstore."""
        with self._open() as xen:
            rows = xen.rows()
        wanted = uuid.bytes
        return [domain_info(row, None, None) for row in rows if row[HANDLE] == wanted]

    def find(self, key: str | int | UUID) -> DomainInfo | None:
        """Return the domain with a name, a domid or a uuid that is not dying; None if there is no such domain.

        Xen and xenstore are asked about the domid that it had the last time. All domains are listed only if it has
        another one now.
        """
        domid = key if isinstance(key, int) else self._places.get(key)
        if domid is not None:
            info = self.domain(domid) if 0 <= domid <= _LAST_DOMID else None
            if info is not None and _is(info, key):
                return info
            if isinstance(key, int):
                return None
        infos = [info for info in self.domains() if info.state is not DomainState.DYING]
        places: dict[str | UUID, int] = {}
        for info in infos:
            places.setdefault(info.uuid, info.domid)
            if info.name is not None:
                places.setdefault(info.name, info.domid)
        self._places = places
        return next((info for info in infos if _is(info, key)), None)

    def glance(self) -> list[DomainInfo]:
        """Return all domains, sorted by domid, without names: this takes one hypercall and does not use xenstore."""
        with self._open() as xen:
            rows = xen.rows()
        return [domain_info(row, None, None) for row in rows]

    def glance_at(self, domid: int) -> DomainInfo | None:
        """Return one domain, without its name, as `glance`; None if there is no domain with that domid."""
        with self._open() as xen:
            rows = xen.ask(domid, 1)
        return domain_info(rows[0], None, None) if rows and rows[0][AT["domain"]] == domid else None

    def alive(self, domid: int, uuid: UUID) -> bool:
        """Tell, with one hypercall, whether the domain with this domid has this uuid and is not dying."""
        with self._open() as xen:
            rows = xen.ask(domid, 1)
        if not rows or rows[0][AT["domain"]] != domid or rows[0][AT["flags"]] & lib.XEN_DOMINF_dying:
            return False
        return bool(rows[0][AT["handle"]] == uuid.bytes)

    def domain(self, domid: int) -> DomainInfo | None:
        """Return one domain; None if there is no domain with that domid."""
        with self._asking() as store:
            with self._open() as xen:
                rows = xen.ask(domid, 1)
            if not rows or rows[0][AT["domain"]] != domid:
                return None
            paths = (
                f"/local/domain/{domid}/name",
                f"/local/pool/{rows[0][AT['cpupool']]}/name",
                target_node(domid),
            )
            name, pool, target = read_values(store.connection, paths)
        served = target_of(target) if may_be_stub(rows[0]) else None
        return domain_info(rows[0], name, pool, served)

    def read(self, path: str) -> str | None:
        """Return the value of a xenstore node; None if it does not exist."""
        with self._asking() as store:
            return store.connection.read(path)

    def read_all(self, paths: Sequence[str]) -> list[str | None]:
        """Return the values of xenstore nodes, with one round trip; None for those that do not exist."""
        with self._asking() as store:
            return store.connection.read_all(*paths)

    def look(self, paths: Sequence[str], folders: Sequence[str]) -> tuple[list[str | None], list[list[str]]]:
        """Return values of xenstore nodes, and names of the children of others, with one round trip; see `look`."""
        with self._asking() as store:
            return look(store.connection, paths, folders)

    def read_dom0s(self, paths: Iterable[str]) -> list[str | None]:
        """Return the values of xenstore nodes that dom0 owns; None for those of others, and where there is no node."""
        with self._asking() as store:
            return read_dom0s(store.connection, paths)

    def replace(self, path: str, old: str, new: str) -> bool:
        """Write a xenstore node if it has a certain value, and tell whether it was written.

        A guest that keeps writing to the node can make every attempt fail, so the number of attempts is limited.
        """
        for _ in range(_TRIES):
            with self._asking() as store:  # per attempt, so that others can read in between
                done = store.connection.replace(path, old, new)
            if done is not None:
                return done
        return False

    def write(self, path: str, value: str) -> bool:
        """Write a xenstore node, and tell whether xenstored has taken it."""
        with self._asking() as store:
            [answer] = store.connection.batch([(Verb.WRITE, f"{path}\0{value}".encode())])
        return not isinstance(answer, OSError)

    def directory(self, path: str) -> list[str]:
        """Return the names of a xenstore node's children; empty if there is no such node."""
        with self._asking() as store:
            return store.connection.directory(path)

    def remove(self, *paths: str) -> None:
        """Remove xenstore nodes and their children, as far as they exist."""
        with self._asking() as store:
            store.connection.remove(*paths)

    def vcpus(self, infos: Sequence[DomainInfo]) -> list[list[Vcpu]]:
        """Return the vCPUs of each of these domains; none for a domain that has gone."""
        with self._open() as xen:
            answer = ffi.new("xc_vcpuinfo_t *")
            return [_vcpus(xen, info, answer) for info in infos]

    def console_ring(self, domid: int) -> tuple[int, int] | None:
        """Return the event channel and frame that Xen keeps for a guest's console; None if it keeps none, as for PV."""
        found = ffi.new("uint64_t[2]")
        wanted = (lib.HVM_PARAM_CONSOLE_EVTCHN, lib.HVM_PARAM_CONSOLE_PFN)
        with self._open() as xen:
            refused = any(
                lib.xc_hvm_param_get(xen.handle, domid, param, found + place) != 0 for place, param in enumerate(wanted)
            )
        port, gfn = found
        return None if refused or not port or not gfn else (port, gfn)

    def clear_away(self, domid: int, uuid: UUID) -> None:
        """Remove the rest of a destroyed domain's entries from xenstore. If the domain is still there, do nothing.

        libxl removes them, but not all if xenstored refuses something. Also, xenconsoled may write a new domain's tty
        later, without checking that the domain exists.
        """
        with self._asking() as store:
            with self._open() as xen:
                rows = xen.rows()
            alive = [row for row in rows if not row[AT["flags"]] & lib.XEN_DOMINF_dying]
            if any(row[AT["domain"]] == domid for row in alive):
                return
            backends = "/local/domain/0/backend"
            kinds = store.connection.directory(backends)
            paths = [f"/local/domain/{domid}", f"/libxl/{domid}", *(f"{backends}/{kind}/{domid}" for kind in kinds)]
            if all(row[AT["handle"]] != uuid.bytes for row in alive):  # a domain that moves here from here has it, too
                paths.append(f"/vm/{uuid}")
            store.connection.remove(*paths)

    def take_back_suspend(self, domid: int) -> None:
        """Take back a suspend that Xen was told of and that has not happened. A PV guest is told itself: it is left.

        A vCPU that waits for QEMU cannot stop. Xen would suspend the guest when QEMU answers, however late.
        """
        with self._open() as xen:
            rows = xen.ask(domid, 1)
            if not rows or rows[0][AT["domain"]] != domid:
                return
            flags = rows[0][AT["flags"]]
            if flags & lib.XEN_DOMINF_hvm_guest and not flags & (lib.XEN_DOMINF_shutdown | lib.XEN_DOMINF_dying):
                lib.pyxen_take_back_shutdown(xen.handle, domid)

    def set_uuid(self, domid: int, uuid: UUID) -> None:
        """Change a domain's uuid in Xen."""
        with self._open() as xen:
            if lib.xc_domain_sethandle(xen.handle, domid, ffi.new("uint8_t[16]", uuid.bytes)) != 0:
                raise refused("preserve", f"Xen does not give domain {domid} another uuid")

    def forget_uuid(self, uuid: UUID) -> None:
        """Remove xenstore's entries for a uuid that no domain uses any more."""
        with self._asking() as store:
            store.connection.remove(f"/vm/{uuid}")

    def has_shadow_paging(self) -> bool:
        """Tell whether Xen was built with shadow paging."""
        return bool(self._physinfo().capabilities & lib.XEN_SYSCTL_PHYSCAP_shadow)

    def free_kib(self) -> int:
        """Return the memory that no domain has or has claimed."""
        info = self._physinfo()
        return int(info.free_pages - info.outstanding_pages) * _PAGE_KIB

    def _physinfo(self) -> CData:
        info = ffi.new("xc_physinfo_t *")
        with self._open() as xen:
            if lib.xc_physinfo(xen.handle, info) != 0:
                raise refused("info", "Xen does not tell its figures")
        return info

    def _check_open(self) -> None:
        if not self._xen.is_open:
            raise HostClosed(_CLOSED)


def refused(verb: str, message: str) -> OperationFailed:
    """Return the exception for a call of libxenctrl that has just failed."""
    return OperationFailed(f"{message}: {os.strerror(ffi.errno)}", operation=verb, code=-ffi.errno)


def _is(info: DomainInfo, key: str | int | UUID) -> bool:
    """Tell whether a domain has this name, domid or uuid, and is not dying."""
    if info.state is DomainState.DYING:
        return False
    return (info.name if isinstance(key, str) else info.domid if isinstance(key, int) else info.uuid) == key


def _vcpus(xen: _Xen, info: DomainInfo, answer: CData) -> list[Vcpu]:
    if info.maxvcpus == 1:  # what Xen says of the domain is what it would say of this vCPU
        return [Vcpu(info.cpu_time_ns, info.vcpus == 1)]
    vcpus = []
    for number in range(info.maxvcpus):
        if lib.xc_vcpu_getinfo(xen.handle, info.domid, number, answer) != 0:
            return []
        vcpus.append(Vcpu(answer.cpu_time, bool(answer.online)))
    return vcpus
