"""Scenes about the whole host: what it reports, its CPU pools, its xenstore, its parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from pyxen import NodeAccess, NodePermissions, PoolScheduler, XenstoreTransaction
from pyxen.config import SchedulerKind
from tests.differential.prober import Call, Prober, c

__all__ = ["cpupools", "domains", "hypervisor", "reports", "xenstore"]

_TOP: Final = "/tool/pyxen-differential"

_ODD_PATHS: Final = ("", "/", "//", "a", "/a b", "/a/", "/a//b", "/a\0b", "/ä", "/" + "x" * 3073, "@introduceDomain")


def reports(prober: Prober) -> None:
    """What the host says of itself."""
    prober.ask(
        prober.host,
        *map(c, ("info", "topology", "idle_times_ns", "uptimes", "list", "stats", "orphans", "log", "defined")),
        *map(c, ("cpupools.list",)),
        *(c("supports", name) for name in ("create", "save", "rename", "uptime", "hypfs", "xenstore", "cpupools")),
        c("supports", "nonsense"),
    )


def domains(prober: Prober) -> None:
    """Looking for domains that are there, and that are not."""
    there = prober.create(prober.tiny("there"), paused=True)
    keys = (
        "there",
        there.domid,
        there.uuid,
        str(there.uuid),
        0,
        "Domain-0",
        "nowhere",
        "",
        32000,
        -1,
        str(there.domid),
    )
    for key in (*keys, UUID(int=0), UUID(int=5), "There", "marker"):
        prober.ask(prober.host.domains, c("get", key), c("__getitem__", key), c("__contains__", key), as_="domains")
    prober.ask(prober.host, c("vm", there.uuid), c("vm", "no uuid"), c("vm", UUID(int=0)))
    prober.ask(prober.host.domains["Domain-0"], *map(c, ("info", "vcpus", "scheduler", "uptime", "name", "stats")))


def cpupools(prober: Prober) -> None:
    """CPU pools, their CPUs and schedulers."""
    pools = prober.host.cpupools
    for key in ("Pool-0", 0, "0", "nowhere", "", 7, -1):
        prober.ask(pools, c("get", key), c("__getitem__", key), as_="cpupools")
    for name in ("", "Pool-0", "5", "a\nb"):
        prober.ask(pools, c("create", name), as_="cpupools")
    for cpus in ("0", "99", "x", "1-", [0], [-1], "nodes:0", "nodes:7", "all"):
        prober.ask(pools, c("create", "other", cpus=cpus), as_="cpupools")
    prober.ask(pools, c("create", "other", scheduler="arinc"), c("create", "other", scheduler=3), as_="cpupools")
    first = pools["Pool-0"]
    prober.ask(first, *map(c, ("info", "scheduler", "name", "number", "uuid")), as_="first")
    prober.ask(
        first,
        c("destroy"),
        *(c("rename", name) for name in ("", "5", "a\nb")),
        *(c("add_cpus", cpus) for cpus in ("0", "99", "", "x", [0], "nodes:7")),
        *(c("remove_cpus", cpus) for cpus in ("0", "99", "", "x", [0], "nodes:7")),
        *(c("set_scheduler", PoolScheduler(ratelimit_us=value)) for value in (-1, 50, 600_000)),
        c("set_scheduler", PoolScheduler(kind=SchedulerKind.CREDIT)),
        c("set_scheduler", PoolScheduler(tslice_ms=30)),
        c("set_scheduler", PoolScheduler(vcpu_migr_delay_us=0)),
        c("set_scheduler", PoolScheduler()),
        as_="first",
    )
    prober.do(first, c("set_scheduler", PoolScheduler(ratelimit_us=2000)), c("scheduler"), as_="first")
    prober.do(first, c("set_scheduler", PoolScheduler(ratelimit_us=1000)), c("scheduler"), as_="first")
    empty = prober.probe("cpupools.create('empty')", lambda: pools.create("empty").number)
    if empty is None:
        return
    pool = pools["empty"]
    prober.ask(pool, *map(c, ("info", "scheduler", "name", "number")), as_="empty")
    prober.ask(pools, c("list"), c("create", "empty"), as_="cpupools")
    prober.ask(
        pool, c("rename", "Pool-0"), c("rename", "empty"), c("remove_cpus", "0"), c("add_cpus", "0"), as_="empty"
    )
    guest = prober.create(prober.tiny("guest"), paused=True)
    prober.ask(guest, *(c("set_cpupool", key) for key in ("empty", empty, "nowhere", 99, "", -1, "Pool-0", 0)))
    for key in ("empty", str(empty), "nowhere", "99"):
        prober.ask(prober.host, c("create", prober.tiny("homeless", pool=key)))
    prober.do(
        pool, c("rename", "void"), c("info"), c("destroy"), c("destroy"), c("info"), c("rename", "b"), as_="empty"
    )
    prober.ask(pools, c("list"), c("get", "void"), as_="cpupools")


def xenstore(prober: Prober) -> None:
    """Nodes, odd paths, permissions and transactions."""
    store = prober.host.xenstore
    store.remove(_TOP)
    verbs = ("read", "read_bytes", "exists", "list", "mkdir", "remove", "permissions")
    for path in _ODD_PATHS:
        prober.ask(store, *(c(verb, path) for verb in verbs if path != "/" or verb != "remove"), as_="xenstore")
        prober.ask(store, c("write", path, "x"), c("set_permissions", path, NodePermissions(0)), as_="xenstore")
    store.remove("a")  # a relative path is dom0's
    for verb in verbs:
        prober.ask(store, c(verb, f"{_TOP}/nowhere"), as_="xenstore")
    store.remove(_TOP)
    for value in ("", "x", "ä", b"\xff\0", "x" * 2000, "x" * 2048, "x" * 2049, "x" * 4097):
        prober.ask(store, c("write", f"{_TOP}/value", value), c("read", f"{_TOP}/value"), as_="xenstore")
        prober.ask(store, c("read_bytes", f"{_TOP}/value"), as_="xenstore")
    prober.ask(
        store,
        c("write", f"{_TOP}/a/b/c", "deep"),
        c("list", _TOP),
        c("list", f"{_TOP}/a"),
        c("read", f"{_TOP}/a"),
        c("permissions", f"{_TOP}/a/b/c"),
        c("set_permissions", f"{_TOP}/a", NodePermissions(0, domains={7: NodeAccess.READ})),
        c("permissions", f"{_TOP}/a"),
        c("permissions", f"{_TOP}/a/b/c"),
        c("write", f"{_TOP}/a/new", "inherits"),
        c("permissions", f"{_TOP}/a/new"),
        c("set_permissions", f"{_TOP}/nowhere", NodePermissions(0)),
        c("set_permissions", f"{_TOP}/a", NodePermissions(31_000)),
        c("mkdir", f"{_TOP}/a"),
        c("read", f"{_TOP}/a"),
        c("mkdir", f"{_TOP}/m/n"),
        c("list", f"{_TOP}/m"),
        c("read_many", [f"{_TOP}/a/b/c", f"{_TOP}/nowhere", f"{_TOP}/m"]),
        c("read_many", []),
        c("read_many", ["bad path"]),
        c("remove", f"{_TOP}/a/b"),
        c("exists", f"{_TOP}/a/b/c"),
        c("list", f"{_TOP}/a"),
        c("remove", f"{_TOP}/a/b"),
        c("remove", _TOP),
        c("remove", "/"),
        as_="xenstore",
    )
    transactions: dict[str, Callable[[XenstoreTransaction], object]] = {
        "read": lambda t: t.read("/local/domain/0/name"),
        "missing": lambda t: t.read(f"{_TOP}/nowhere"),
        "several": _write_and_read,
        "bad path": lambda t: t.read("bad path"),
        "itself": lambda t: t.exists(f"{_TOP}/t"),
    }
    for name, function in transactions.items():
        prober.probe(f"transaction {name}", partial(store.transaction, function))
    prober.ask(store, c("transaction", len, tries=0), c("remove", _TOP), as_="xenstore")


def _write_and_read(transaction: XenstoreTransaction) -> list[object]:
    transaction.write(f"{_TOP}/t", "1")
    return [transaction.read(f"{_TOP}/t"), transaction.list(_TOP)]


def hypervisor(prober: Prober) -> None:
    """Parameters, hypfs, debug keys, and Flask, which Debian's Xen has not."""
    host = prober.host
    paths = (
        "/",
        "",
        "params",
        "/params",
        "/nowhere",
        "/params/",
        "/buildinfo/version/major",
        "/buildinfo",
        "//",
        "/a\0",
    )
    prober.ask(host.hypfs, *(c(verb, path) for path in paths for verb in ("get", "list", "__getitem__")), as_="hypfs")
    prober.ask(
        host.hypfs,
        c("write", "/nowhere", 1),
        c("write", "/buildinfo/version/major", 5),
        c("write", "/params", 1),
        c("write", "", 1),
        c("list", "/buildinfo", recursive=True),
        as_="hypfs",
    )
    texts = ("", "nonsense", "nonsense=1", "loglvl=", "=", "a\0", "x" * 5000, " ", "loglvl=all guest_loglvl=all")
    prober.ask(host, *(c("set_parameters", text) for text in texts))
    prober.ask(host, *(c("debug_keys", keys) for keys in ("", "é", "\0", " ", "h", "hh", "x" * 200)))
    calls: list[Call] = [c("enforcing"), c("set_enforcing", True), c("load_policy", b""), c("load_policy", b"x")]
    calls += [c("label", 0), c("label", -1), c("ssidref", "system_u"), c("ssidref", "")]
    prober.ask(host.flask, *calls, as_="flask")
