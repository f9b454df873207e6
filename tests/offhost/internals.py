"""What these tests know of pyxen's insides; all of it stands here."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pyxen.backends.xenlight.libxl
from pyxen import ConnectFailed, DomainConfig, DomainInfo, Host, Operation, libxljson
from pyxen.records.endpoints import SpiceEndpoint
from tests.offhost.setup import Release

if TYPE_CHECKING:  # the programs that tests begin import this module, and pytest would take most of their time
    import pytest

__all__ = [
    "after_a_look",
    "after_a_look_at_free_memory",
    "after_the_check_of_answers",
    "after_the_check_of_names",
    "be_impatient",
    "before_a_script",
    "before_a_step_of_the_source",
    "before_libxl_tells_of_free_memory",
    "before_the_arrived_starts",
    "building",
    "by_address",
    "end_core_dumps",
    "expect_other_workers",
    "expect_quick_guests",
    "fail_with_another_controller",
    "find_qemus_in",
    "has_lifeline",
    "in_a_script",
    "journal_slots",
    "let_dom0_use",
    "let_qemus_say_all",
    "let_readers_say_all",
    "libxl_lock",
    "pretend_pci",
    "pretend_pci_adds",
    "qmp_patience",
    "received_devices",
    "refuse_targets_of_dom0",
    "refused_watches",
    "replace_let_go_on",
    "scripts_asleep",
    "spice_server",
    "target_by_libxl",
    "terminal_by_libxl",
    "through_libxl",
    "use_extension",
    "when_a_pool_is_made",
    "without_loops",
    "write_as_json_c",
]


def use_extension(release: Release) -> None:
    """Let pyxen find the extension for a release before those that are built in the repository."""
    folders, folder = pyxen.backends.xenlight.libxl.__path__, str(release.extension)
    if folder not in folders:
        folders.insert(0, folder)
    from pyxen.backends.xenlight.libxl import binding

    loaded = f"{binding.file} was loaded before: a test module imports what loads it"
    assert binding.file.startswith(folder), loaded


def libxl_lock() -> AbstractContextManager[object]:
    """Return the lock around libxl."""
    from pyxen.backends.xenlight.libxl.lock import LIBXL

    return LIBXL


def let_readers_say_all(host: Host) -> None:
    """Let the handle with which a host is looked at log all that libxenctrl says, and not only warnings."""
    from pyxen.backends.xenlight.backend import XenlightBackend
    from pyxen.backends.xenlight.libxl.binding import lib

    assert isinstance(host._backend, XenlightBackend)
    lib.pyxen_logger_set_level(host._backend._hypervisor._sink.logger, lib.XTL_DEBUG)


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a worker or a xenstored that does not answer sooner than in real life."""
    from pyxen.backends.xenlight.libxl import hung_xenstored, worker_calls
    from pyxen.backends.xenlight.xenstore import connection

    monkeypatch.setattr(hung_xenstored, "_LONG", 0.2)
    monkeypatch.setattr(hung_xenstored, "_PAUSE", 0.1)
    monkeypatch.setattr(worker_calls, "SILENCE", 0.5)
    monkeypatch.setattr(worker_calls, "_START", 2.0)
    monkeypatch.setattr(connection, "PATIENCE", 0.5)  # of connections that are opened from now on


def end_core_dumps(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let workers end each core dump with a code of libxl's: the pretended hypervisor cannot make one."""
    from pyxen.backends.xenlight.libxl.binding import lib
    from pyxen.backends.xenlight.libxl.event_loop import LibxlEvent
    from pyxen.backends.xenlight.libxl.worker_calls import WorkerCalls

    real = WorkerCalls.call

    def call(self: WorkerCalls, kind: int, **given: Any) -> Any:
        if kind != lib.PYXEN_CORE_DUMP:
            return (yield from real(self, kind, **given))
        return LibxlEvent(lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE, given["domid"], code)

    monkeypatch.setattr(WorkerCalls, "call", call)


def write_as_json_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have libxl write unsigned numbers of 32 bits as signed ones, as with json-c. It reads as ever."""
    from pyxen.backends.xenlight.libxl import marshal
    from pyxen.backends.xenlight.operations import configuration, devices, lifecycle, save

    write = marshal.to_json

    def signed(number: re.Match[str]) -> str:
        value = int(number[0])
        return str(value - 2**32 if 2**31 <= value < 2**32 else value)

    def to_json(*arguments: Any) -> str:
        return re.sub(r"\b\d{10}\b", signed, write(*arguments))

    for module in (marshal, configuration, devices, lifecycle, save):
        monkeypatch.setattr(module, "to_json", to_json)


def through_libxl(host: Host) -> Callable[[DomainConfig], str]:
    """Return what brings a configuration into libxl's structures as a create does, and out again, as JSON."""
    from pyxen.backends.xenlight.libxl import marshal

    backend: Any = host._backend
    context = backend._context  # begun by the first operation

    def carry(config: DomainConfig) -> str:
        value = marshal.domain_config(context.pointer, marshal.prepare(config).json)
        return marshal.to_json(context.pointer, value)

    return carry


def journal_slots(host: Host) -> int:
    """Return how many domains the journal of a host has room for: as many as were ever created at the same time."""
    backend: Any = host._backend
    return len(backend._context.journal._slots)


def has_lifeline(host: Host) -> bool:
    """Tell whether libxl's connection to xenstored is known, so that it can be shut down where xenstored hangs."""
    backend: Any = host._backend
    found = backend._context._lifeline._socket
    return found is not None and os.get_blocking(found.fileno())


def when_a_pool_is_made(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen when libxl has made a CPU pool, and before pyxen looks whether xenstored has it."""
    from pyxen.backends.xenlight.operations.effects import check_written

    place = "pyxen.backends.xenlight.operations.cpupools.check_written"

    def then(*given: Any) -> None:
        happens()
        check_written(*given)

    monkeypatch.setattr(place, then)


def after_the_check_of_answers(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when pyxen has seen that xenstored answers, and before it has libxl connect."""
    from pyxen.backends.xenlight.xenstore.connection import check_answers

    place = "pyxen.backends.xenlight.libxl.context.check_answers"

    def then() -> None:
        check_answers()
        monkeypatch.setattr(place, check_answers)
        happens()

    monkeypatch.setattr(place, then)


def expect_quick_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for a guest that may have been asked to suspend: those of these tests do it at once."""
    from pyxen.backends.xenlight.migration import remus

    monkeypatch.setattr(remus, "_TO_SUSPEND", 0.3)


def target_by_libxl(host: Host, domid: int) -> int | None:
    """Return the guest whose stub domain a domain is, by libxl's own word; None if it is none."""
    from pyxen.backends.xenlight.libxl.binding import ffi, lib

    backend: Any = host._backend
    found = ffi.new("uint32_t *")
    return int(found[0]) if lib.libxl_is_stubdom(backend._context.pointer, domid, found) else None


def terminal_by_libxl(host: Host, domid: int, kind: str | None = None, number: int = 0) -> str | None:
    """Return the terminal of a console, by libxl's own word, without a kind that which xl opens; None if it fails."""
    from pyxen.backends.xenlight.libxl.binding import ffi, lib

    backend: Any = host._backend
    found, context = ffi.new("char **"), backend._context.pointer
    if kind is None:
        code = lib.libxl_primary_console_get_tty(context, domid, found)
    else:
        types = {"pv": lib.LIBXL_CONSOLE_TYPE_PV, "serial": lib.LIBXL_CONSOLE_TYPE_SERIAL}
        code = lib.libxl_console_get_tty(context, domid, number, types[kind], found)
    return None if code else ffi.string(found[0]).decode()


def scripts_asleep(host: Host) -> int:
    """Return how many of a host's scripts wait for libxl to report on a domain, and do not look by themselves."""
    backend: Any = host._backend
    context = backend._context
    waits = [(token, task.wait) for token, task in list(context._event_loop._waiting.items())]
    return sum(token in context._watchings and wait is not None and wait.until is None for token, wait in waits)


def replace_let_go_on(monkeypatch: pytest.MonkeyPatch, script: Callable[..., object]) -> None:
    """Let a script stand for the one that resumes the source of a replication."""
    from pyxen.backends.xenlight.migration import remus

    monkeypatch.setattr(remus, "let_go_on", script)


def refuse_replace(monkeypatch: pytest.MonkeyPatch, host: Host, times: int) -> None:
    """Let a host's writes of nodes with a certain value fail so many times, as if xenstored did not answer."""
    hypervisor: Any = host._backend._hypervisor  # type: ignore[attr-defined]  # what suspends are taken back by
    real, left = hypervisor.replace, [ConnectFailed("no xenstored")] * times

    def replace(*arguments: str) -> bool:
        if left:
            raise left.pop()
        return bool(real(*arguments))

    monkeypatch.setattr(hypervisor, "replace", replace)


def refused_watches(domids: Sequence[int]) -> list[tuple[int, int]]:
    """Have xenstored refuse a thread watches for guests' answers; returns what its loop tells: domids and errnos."""
    from pyxen.backends.xenlight.libxl.binding import ffi, file, lib

    ours = ctypes.CDLL(file)
    ours.xs_open.restype, ours.xs_open.argtypes = ctypes.c_void_p, [ctypes.c_ulong]
    ours.xs_watch.restype, ours.xs_watch.argtypes = ctypes.c_bool, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    ours.xs_close.argtypes = [ctypes.c_void_p]
    store, events = ours.xs_open(0), ffi.new("struct pyxen_event[64]")
    wake = os.eventfd(0)
    loop = lib.pyxen_loop_new(wake, ffi.NULL)
    try:
        for domid in domids:
            path = f"/local/domain/{domid}/control/shutdown".encode()
            for _ in range(2):  # the second is one that it has
                assert ours.xs_watch(store, path, b"token")
        found = lib.pyxen_loop_wait(loop, ffi.NULL, 0, events, len(events))
        assert all(event.type == lib.PYXEN_REFUSED for event in events[0:found])
        return [(event.domid, event.code) for event in events[0:found]]
    finally:
        lib.pyxen_loop_free(loop)
        os.close(wake)
        ours.xs_close(store)


def expect_other_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers' program be that of another pyxen, as after an upgrade, with another protocol."""
    from pyxen.backends.xenlight.libxl.binding import lib

    class Older:
        PYXEN_PROTOCOL = lib.PYXEN_PROTOCOL - 1

        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

    monkeypatch.setattr("pyxen.backends.xenlight.libxl.process_workers.lib", Older())


def find_qemus_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Look for the sockets of QEMUs in a folder."""
    from pyxen.backends.xenlight.operations import qmp

    monkeypatch.setattr(qmp, "SOCKETS", folder)


def spice_server(monkeypatch: pytest.MonkeyPatch, info: DomainInfo, *, patience: float) -> SpiceEndpoint | None:
    """Return the SPICE server that the QEMU of a domain tells of, with so much patience."""
    from pyxen.backends.xenlight.operations import spice

    monkeypatch.setattr(spice, "PATIENCE", patience)
    return spice.spice(info)


def let_qemus_say_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read messages of QEMUs without a limit on their number and length."""
    from pyxen.backends.xenlight.operations import qmp

    monkeypatch.setattr(qmp, "MOST", 1 << 60)
    monkeypatch.setattr(qmp, "LONGEST", 1 << 60)


def fail_with_another_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let libxl make a USB controller when it is to attach a USB device, and then fail."""
    from pyxen.backends.xenlight.libxl.binding import ffi, lib
    from pyxen.backends.xenlight.operations import devices

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def libxl_device_usbdev_add(self, pointer: Any, domid: int, _: Any, __: Any) -> int:
            controller = ffi.new("libxl_device_usbctrl *")
            lib.libxl_device_usbctrl_init(controller)
            assert lib.libxl_device_usbctrl_add(pointer, domid, controller, ffi.NULL) == 0
            return int(lib.ERROR_FAIL)

    monkeypatch.setattr(devices, "lib", Lib())


def let_dom0_use(monkeypatch: pytest.MonkeyPatch, vcpus: Callable[[], int], *, patience: float = 10.0) -> None:
    """Let domain 0 use so many vCPUs: the pretended one always uses all."""
    from pyxen.backends.xenlight.operations import cpupools

    monkeypatch.setattr(cpupools, "_online", lambda _, __: vcpus())
    monkeypatch.setattr(cpupools, "TO_GO_OFFLINE", patience)


def pretend_pci(
    monkeypatch: pytest.MonkeyPatch, folder: Path, add: Callable[[], int], remove: Callable[[], int]
) -> None:
    """Let the host have the PCI devices in a folder, and libxl do this to make one assignable, and not to."""
    from pyxen.backends.xenlight import sysfs
    from pyxen.backends.xenlight.libxl.binding import lib
    from pyxen.backends.xenlight.operations import pci

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def libxl_device_pci_assignable_add(self, *_: object) -> int:
            return add()

        def libxl_device_pci_assignable_remove(self, *_: object) -> int:
            return remove()

    monkeypatch.setattr(pci, "lib", Lib())
    monkeypatch.setattr(pci, "_check_host", lambda _: None)
    for module in (pci, sysfs):
        monkeypatch.setattr(module, "PCI_DEVICES", str(folder / "devices"))
        monkeypatch.setattr(module, "PCIBACK_DRIVER", str(folder / "drivers/pciback"))


def pretend_pci_adds(monkeypatch: pytest.MonkeyPatch, code: int) -> list[tuple[int, str, str | None]]:
    """Let libxl end each attach of a PCI device with a code, and return a list of what is to be attached, and to whom.

    The pretended hypervisor has no IOMMU, so no attach succeeds.
    """
    from pyxen.backends.xenlight.libxl.binding import ffi, lib
    from pyxen.backends.xenlight.operations import devices

    asked: list[tuple[int, str, str | None]] = []

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def libxl_device_pci_add(self, _: object, domid: int, pci: Any, _how: object) -> int:
            address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.dev:02x}.{pci.func}"
            asked.append((domid, address, None if pci.name == ffi.NULL else ffi.string(pci.name).decode()))
            return code

    monkeypatch.setattr(devices, "lib", Lib())
    return asked


def refuse_targets_of_dom0(monkeypatch: pytest.MonkeyPatch, *, lower: bool) -> None:
    """Let xenstored take no lower memory target for dom0 from libxl, or no higher one; libxl does not look."""
    from pyxen.backends.xenlight.libxl.binding import lib
    from pyxen.backends.xenlight.operations import room

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def libxl_set_memory_target(self, pointer: Any, domid: int, kib: int, relative: int, enforce: int) -> int:
            if lower == (kib < 0):
                return 0
            return int(lib.libxl_set_memory_target(pointer, domid, kib, relative, enforce))

    monkeypatch.setattr(room, "lib", Lib())


def after_a_look_at_free_memory(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen each time when Xen has told how much memory is free."""
    from pyxen.backends.xenlight.hypervisor import Hypervisor

    real = Hypervisor.free_kib

    def free_kib(hypervisor: Hypervisor) -> int:
        free = real(hypervisor)
        happens()
        return free

    monkeypatch.setattr(Hypervisor, "free_kib", free_kib)


def before_libxl_tells_of_free_memory(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen in `set_memory`, before libxl tells how much memory is free."""
    from pyxen.backends.xenlight.libxl.binding import lib
    from pyxen.backends.xenlight.operations import resources

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def libxl_get_free_memory(self, pointer: Any, free: Any) -> int:
            happens()
            return int(lib.libxl_get_free_memory(pointer, free))

    monkeypatch.setattr(resources, "lib", Lib())


def building(host: Host, mib: int) -> AbstractContextManager[None]:
    """Let a host be making a domain, which has no memory yet."""
    backend: Any = host._backend
    context: AbstractContextManager[None] = backend._context.building(uuid4(), mib * 1024)
    return context


def qmp_patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set how long a QEMU has to greet a reader of its events."""
    monkeypatch.setattr("pyxen.readers.qmp.CONNECT", seconds)


def before_a_script(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when a verb has been checked, and before its script runs."""
    from pyxen.backends.xenlight.libxl.context import Context

    run = Context.run

    def then(context: Context, operation: Any, script: Any) -> Any:
        monkeypatch.setattr(Context, "run", run)
        happens()
        return run(context, operation, script)

    monkeypatch.setattr(Context, "run", then)


def after_a_look(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when a domain's info has been read."""
    from pyxen.backends.xenlight.hypervisor import Hypervisor

    domain = Hypervisor.domain

    def then(hypervisor: Hypervisor, domid: int) -> DomainInfo | None:
        found = domain(hypervisor, domid)
        monkeypatch.setattr(Hypervisor, "domain", domain)
        happens()
        return found

    monkeypatch.setattr(Hypervisor, "domain", then)


def in_a_script(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when a script has seen that its domain is there."""
    from pyxen.backends.xenlight.hypervisor import Hypervisor

    alive = Hypervisor.alive

    def then(hypervisor: Hypervisor, domid: int, uuid: UUID) -> bool:
        found = alive(hypervisor, domid, uuid)
        if threading.current_thread().name == "pyxen-libxl":
            monkeypatch.setattr(Hypervisor, "alive", alive)
            happens()
        return found

    monkeypatch.setattr(Hypervisor, "alive", then)


def after_the_check_of_names(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, when pyxen has seen that a name is free, and before libxl gives it."""
    from pyxen.backends.xenlight.hypervisor import Hypervisor

    named = Hypervisor.named

    def then(hypervisor: Hypervisor, name: str) -> list[int]:
        holders = named(hypervisor, name)
        monkeypatch.setattr(Hypervisor, "named", named)
        happens()
        return holders

    monkeypatch.setattr(Hypervisor, "named", then)


def without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no memory for what waits for libxl."""
    from pyxen.backends.xenlight.libxl import context
    from pyxen.backends.xenlight.libxl.binding import ffi, lib

    class NoLoops:
        def __getattr__(self, name: str) -> Any:
            return getattr(lib, name)

        def pyxen_loop_new(self, *_: object) -> Any:
            return ffi.NULL

    monkeypatch.setattr(context, "lib", NoLoops())


def by_address(host: Host, config: DomainConfig) -> DomainConfig:
    """Return a configuration with the addresses of its PCI devices, as a create gives it to libxl."""
    from pyxen.backends.xenlight.operations import passthrough

    context: Any = host._backend._context  # type: ignore[attr-defined]
    return passthrough.by_address(context, Operation("create"), config)


def received_devices(host: Host, config: DomainConfig) -> tuple[DomainConfig, DomainConfig]:
    """Return a configuration for a restore as pyxen has it then, and as libxl gets it."""
    from pyxen.backends.xenlight.libxl import received_json
    from pyxen.backends.xenlight.operations import save

    context: Any = host._backend._context  # type: ignore[attr-defined]
    received = save.received_by_address(
        context, Operation("restore"), received_json.Received(config, libxljson.to_dict(config))
    )
    return received.config, libxljson.from_dict(received.document)


def before_a_step_of_the_source(monkeypatch: pytest.MonkeyPatch, step: str, happens: Callable[[], object]) -> None:
    """Let something happen before a step of a migration's source: `stream`, `set_aside`, `take_back` or `end`."""
    from pyxen.backends.xenlight.migration.migrate import _DomainAtSource

    real = getattr(_DomainAtSource, step)

    def then(source: Any, *given: Any) -> None:
        happens()
        real(source, *given)

    monkeypatch.setattr(_DomainAtSource, step, then)


def before_the_arrived_starts(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], object]) -> None:
    """Let something happen, given its domid, before a domain starts that has arrived by a migration."""
    from pyxen.backends.xenlight.migration.migrate import _DomainAtDestination

    real = _DomainAtDestination.start

    def then(arrived: _DomainAtDestination) -> tuple[int, UUID]:
        happens(arrived._domid)
        return real(arrived)

    monkeypatch.setattr(_DomainAtDestination, "start", then)
