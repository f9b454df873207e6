"""The stub, as a test sees it: what happens to the pretended hypervisor, and what it was asked."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

__all__ = ["ANY", "PAGE", "Call", "Class", "How", "Kind", "Reason", "Swept", "World"]

PAGE = 4096
_XENSTORE = 1  # GNTTAB_RESERVED_XENSTORE
_EMULATED = 0x1FF  # what Xen emulates for an HVM guest (XEN_X86_EMU_...): all but what it leaves to vPCI and PIRQs
_TO_STOP = 10.0  # seconds for a process to stop
_FURNITURE = 0xFEFFC  # the frame that libxl uses too


class Class(IntEnum):
    """Kinds of calls, as in world.h."""

    DOMCTL = 0
    SYSCTL = 1
    MEMORY = 2
    EVTCHN = 3
    HVM = 4
    VERSION = 5
    SCHED = 6
    GRANT = 7
    PHYSDEV = 8
    MMUEXT = 9
    MMU = 10
    HYPFS = 11
    XSM = 12
    DM = 13
    DEVICE = 14
    XENSTORE = 15


ANY = 16
"""Stands for calls of all kinds together."""


class Reason(IntEnum):
    """Why a domain shuts down (SHUTDOWN_...)."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3
    WATCHDOG = 4
    SOFT_RESET = 5


class Kind(IntFlag):
    """What a sweep makes fail, as in world.h."""

    HYPERCALLS = 1
    REQUESTS = 2
    FILES = 4
    RESOURCES = 8
    ALLOCATIONS = 16


class How(IntEnum):
    """How it fails, as in world.h.

    DENY, TEAR and CUT are for requests. DIE kills the process that makes the call, and STOP, for requests too, stops it
    before it sends one; both count the calls of those only that the test has begun.
    """

    FAIL = 1
    DENY = 2
    TEAR = 3
    CUT = 4
    DIE = 5
    STOP = 6


@dataclass
class Swept:
    """What has become of a sweep, see `World.sweeping`; known once it is over."""

    count: int = 0
    """How many calls there were."""
    pid: int = 0
    """The process whose call has failed; 0: none has."""
    what: str = ""
    """Which call that was."""


class Call(NamedTuple):
    """A call that was made.

    Attributes:
        pid: By whom.
        name: As ``domctl.createdomain``.
        domid: For which domain; -1 where that is not known.
        error: The errno that it was made to fail with; 0: it was answered.
    """

    pid: int
    name: str
    domid: int
    error: int


class _Entry(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_int32),
        ("kind", ctypes.c_uint16),
        ("op", ctypes.c_uint16),
        ("domid", ctypes.c_int32),
        ("error", ctypes.c_int32),
    )


class World:
    """A pretended hypervisor, in a folder.

    Args:
        stub: The stub's file.
        headers: Where Xen's public headers are, for the names of calls.
        root: The folder; short, since the paths of sockets below it must be.
    """

    def __init__(self, stub: Path, headers: Path, root: Path) -> None:
        self.root = root
        self._lib = ctypes.CDLL(str(stub))
        self._lib.offhost_granted.restype = ctypes.c_int64
        for name in ("offhost_param", "offhost_count", "offhost_calls", "offhost_free_pages", "offhost_swept"):
            getattr(self._lib, name).restype = ctypes.c_uint64
        self._numbers = _numbers(headers)
        self._names = {(kind, number): name for name, (kind, number) in self._numbers.items()}
        self._memory = -1

    def make(self) -> None:
        """Make it, with nothing but domain 0."""
        self._check(self._lib.offhost_make(os.fsencode(self.root)), "making it")

    def use(self) -> None:
        """Let this process be on it: from now on, Xen's devices and files are its own."""
        self._check(self._lib.offhost_use(os.fsencode(self.root)), "using it")
        self._memory = os.open(self.root / "memory", os.O_RDWR | os.O_CLOEXEC)

    def leave(self) -> None:
        """Let this process be on no Xen any more."""
        self._lib.offhost_use(None)
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def add(self, uuid: UUID, *, kind: str = "pvh", vcpus: int = 1, memory: int = 64) -> int:
        """Put in a domain of so many MiB that nobody has created, and return its domid."""
        pages = memory * 256
        domid: int = self._lib.offhost_add(
            uuid.bytes, int(kind != "pv"), _EMULATED if kind == "hvm" else 0, vcpus,
            ctypes.c_uint64(pages), ctypes.c_uint64(pages),
        )  # fmt: skip
        self._check(max(-domid, 0), "adding a domain")
        return domid

    def furnish(self, domid: int) -> tuple[int, int]:
        """Give a domain a page for xenstore; returns its frame and its event channel, to introduce it with."""
        port = ctypes.c_uint32()
        self._check(
            self._lib.offhost_furnish(domid, ctypes.c_uint64(_FURNITURE), ctypes.byref(port)),
            f"furnishing domain {domid}",
        )
        return _FURNITURE, port.value

    def set_memory(self, domid: int, memory: int) -> None:
        """Let a domain have so many MiB, as its balloon driver does."""
        self._check(self._lib.offhost_set_memory(domid, ctypes.c_uint64(memory * 256)), f"the memory of domain {domid}")

    def shut_down(self, domid: int, reason: int = Reason.POWEROFF) -> None:
        """Let a domain shut itself down."""
        self._check(self._lib.offhost_shut_down(domid, reason), f"shutting domain {domid} down")

    def crash(self, domid: int) -> None:
        """Let a domain crash."""
        self.shut_down(domid, Reason.CRASH)

    def is_down(self, domid: int) -> bool | None:
        """Tell whether a domain has shut down; None where there is no such domain, or it dies."""
        state: int = self._lib.offhost_is_down(domid)
        return None if state < 0 else bool(state)

    def remove(self, domid: int) -> None:
        """Take a domain away, as another program's destroy does."""
        self._check(self._lib.offhost_remove(domid), f"removing domain {domid}")

    def linger(self, domid: int, *, lingers: bool = True) -> None:
        """Let a domain stay as dying when it is destroyed, until `remove`."""
        self._check(self._lib.offhost_linger(domid, int(lingers)), f"domain {domid}")

    def param(self, domid: int, index: int) -> int:
        """Return a parameter of an HVM or PVH domain."""
        return int(self._lib.offhost_param(domid, index))

    def set_param(self, domid: int, index: int, value: int) -> None:
        """Set a parameter of a domain."""
        self._check(self._lib.offhost_set_param(domid, index, ctypes.c_uint64(value)), f"domain {domid}")

    def next_domid(self, domid: int) -> None:
        """Choose the domid that the next new domain gets, if no domain has it."""
        self._lib.offhost_set_next_domid(domid)

    def set_nodes(self, nodes: int) -> None:
        """Divide the CPUs among so many NUMA nodes."""
        self._check(self._lib.offhost_set_nodes(nodes), "the NUMA nodes")

    def set_shadow_paging(self, *, there: bool) -> None:
        """Let it be built with shadow paging, as it is at first, or without."""
        self._lib.offhost_set_shadow_paging(int(there))

    def set_hypfs(self, *, there: bool) -> None:
        """Let it be built with a file system of its own, which has the parameter ``loglvl``; at first it has none."""
        self._lib.offhost_set_hypfs(int(there))

    def free_kib(self) -> int:
        """Return the memory that no domain has."""
        return int(self._lib.offhost_free_pages()) * (PAGE // 1024)

    def domids(self) -> list[int]:
        """Return the domids of all domains."""
        found = (ctypes.c_uint16 * 1024)()
        return list(found[: self._lib.offhost_domids(found)])

    def ports(self, domid: int) -> int:
        """Return how many event channels a domain has."""
        return int(self._lib.offhost_ports(domid))

    def store_page(self, domid: int) -> mmap.mmap:
        """Return the page over which a domain talks to xenstored; a view of its memory."""
        return self.granted(domid, _XENSTORE)

    def granted(self, domid: int, reference: int) -> mmap.mmap:
        """Return a page that a domain has granted to domain 0."""
        offset = int(self._lib.offhost_granted(domid, reference))
        self._check(errno.EINVAL if offset < 0 else 0, f"grant {reference} of domain {domid}")
        return mmap.mmap(self._memory, PAGE, offset=offset)

    def frame(self, domid: int, frame: int) -> mmap.mmap:
        """Return a frame of a domain's memory."""
        offset = ctypes.c_int64()
        self._check(
            self._lib.offhost_frame(domid, ctypes.c_uint64(frame), ctypes.byref(offset)),
            f"frame {frame:#x} of domain {domid}",
        )
        return mmap.mmap(self._memory, PAGE, offset=offset.value)

    def stop(self, pid: int) -> None:
        """Stop a process, but not while it holds the lock of the pretended hypervisor: nobody could go on."""
        self._lib.offhost_lock()
        try:
            os.kill(pid, signal.SIGSTOP)
            end = time.monotonic() + _TO_STOP
            while not _is_stopped(pid) and time.monotonic() < end:
                time.sleep(0.001)
        finally:
            self._lib.offhost_unlock()

    def notify(self, domid: int, port: int) -> None:
        """Let a domain send an event."""
        self._check(self._lib.offhost_guest_notify(domid, port), f"port {port} of domain {domid}")

    def count(self, name: str) -> int:
        """Return how often a call was made, by its name as in `Call`; ``any``: all of them."""
        return int(self._lib.offhost_count(*self._call(name)))

    @contextmanager
    def failing(self, name: str, error: int, *, nth: int = 1, times: int = 1 << 60) -> Iterator[None]:
        """Make calls fail while the context is open.

        Args:
            name: The call, as in `Call`; ``any``: calls of all kinds, counted together.
            error: The errno.
            nth: The first one to fail, 1 for the next.
            times: How many, by default all.
        """
        kind, op = self._call(name)
        self._check(
            self._lib.offhost_fail(kind, op, ctypes.c_uint64(nth), ctypes.c_uint64(times), error), f"failing {name}"
        )
        try:
            yield
        finally:
            self._lib.offhost_fail_nothing()

    @contextmanager
    def sweeping(self, kind: Kind, nth: int, error: int, how: How = How.FAIL) -> Iterator[Swept]:
        """Make the nth call of a kind fail, counted from when the context is opened.

        Only calls of the toolstack count: of this process, and of what it has begun, not of xenstored and xenconsoled.

        Args:
            kind: Which calls, counted together.
            nth: Which one fails, 1 for the next; 0: they are only counted.
            error: The errno. For a request that is denied it is one of EAGAIN, ENOSPC, EACCES, ENOMEM.
            how: How it fails.
        """
        self._lib.offhost_sweep(kind, how, error, ctypes.c_uint64(nth))
        swept = Swept()
        try:
            yield swept
        finally:
            hits, pid, what = ctypes.c_uint64(), ctypes.c_int32(), ctypes.create_string_buffer(64)
            swept.count = self._lib.offhost_swept(ctypes.byref(hits), ctypes.byref(pid), what)
            if hits.value:
                swept.pid, swept.what = pid.value, what.value.decode()

    @contextmanager
    def recording(self) -> Iterator[list[Call]]:
        """Collect the calls that are made while the context is open, of all processes; at most the last 4096."""
        first = self.mark()
        calls: list[Call] = []
        yield calls
        calls += self.calls_since(first)

    def mark(self) -> int:
        """Return how many calls there were so far."""
        return int(self._lib.offhost_calls())

    def calls_since(self, mark: int) -> list[Call]:
        """Return the calls since then; at most the last 4096."""
        entries = (_Entry * 4096)()
        count = self._lib.offhost_log(ctypes.c_uint64(mark), entries, len(entries))
        return [
            Call(
                entry.pid,
                self._names.get((entry.kind, entry.op), f"{Class(entry.kind).name.lower()}.{entry.op}"),
                entry.domid,
                entry.error,
            )
            for entry in entries[:count]
        ]

    def _call(self, name: str) -> tuple[int, int]:
        kind, _, number = name.partition(".")
        if number.isdecimal() and kind.upper() in Class.__members__:  # as `recording` names what has no name
            return Class[kind.upper()], int(number)
        if name not in self._numbers:
            raise ValueError(f"no call is named {name}: {', '.join(sorted(self._numbers))}")
        return self._numbers[name]

    def _check(self, code: int, what: str) -> None:
        if code:
            raise OSError(code, f"the pretended hypervisor: {what}: {os.strerror(code)}")


_SOURCES = Path(__file__).parent / "stub"
_DEVICE = (
    "map_batch", "map_resource", "grant_map", "grant_unmap", "bind_virq", "bind_interdomain", "bind_unbound", "unbind",
    "notify",
)  # fmt: skip
_STORE = ("connect", "send", "receive")
_MACROS = (
    (Class.DOMCTL, "domctl.h", "XEN_DOMCTL"),
    (Class.SYSCTL, "sysctl.h", "XEN_SYSCTL"),
    (Class.MEMORY, "memory.h", "XENMEM"),
    (Class.EVTCHN, "event_channel.h", "EVTCHNOP"),
    (Class.HVM, "hvm/hvm_op.h", "HVMOP"),
    (Class.VERSION, "version.h", "XENVER"),
    (Class.SCHED, "sched.h", "SCHEDOP"),
    (Class.GRANT, "grant_table.h", "GNTTABOP"),
    (Class.PHYSDEV, "physdev.h", "PHYSDEVOP"),
)


def _numbers(headers: Path) -> dict[str, tuple[int, int]]:
    """Return the numbers of the calls that the stub answers, by name; Xen's own headers have them."""
    answered = set(re.findall(r"\w+", "".join(path.read_text() for path in _SOURCES.glob("*.c"))))
    found: dict[str, tuple[int, int]] = {"any": (ANY, 0), "xsm": (Class.XSM, 0), "mmu": (Class.MMU, 0)}
    found["mmuext"] = (Class.MMUEXT, 0)
    for kind, header, prefix in _MACROS:
        text = (headers / "xen" / header).read_text()
        for name, number in re.findall(rf"^#define {prefix}_([a-z]\w*)\s+(\d+)(?:\s|$)", text, re.MULTILINE):
            if f"{prefix}_{name}" in answered:
                found[f"{kind.name.lower()}.{name}"] = (kind, int(number))
    for kind, names in ((Class.DEVICE, _DEVICE), (Class.XENSTORE, _STORE)):
        found |= {f"{kind.name.lower()}.{name}": (kind, number) for number, name in enumerate(names, 1)}
    return found


def _is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] in "TZX"
