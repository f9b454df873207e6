"""The host's xenstore, against Xen's own tools for it, and as a guest sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from pyxen import Domain, Host, NodeAccess, NodeChange, NodePermissions, Xenstore
from tests.xen.support import MakeConfig, wait_until

TOP = "/tool/pyxen-test"


def tool(name: str, *arguments: str) -> str:
    """Run one of Xen's own tools, and return what it prints."""
    command = [f"xenstore-{name}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return done.stdout.decode(errors="surrogateescape")


@pytest.fixture
def store(host: Host) -> Iterator[Xenstore]:
    """The store, with an empty folder for the test."""
    host.xenstore.remove(TOP)
    yield host.xenstore
    host.xenstore.remove(TOP)


@pytest.fixture(scope="module")
def idle(host: Host, tiny: MakeConfig) -> Iterator[Domain]:
    """A guest that idles."""
    domain = host.create(tiny(name="idle"))
    yield domain
    domain.destroy()


def test_the_tools_read_what_is_written(store: Xenstore) -> None:
    store.write(f"{TOP}/a/b", "blue sky")
    store.mkdir(f"{TOP}/c")
    assert tool("read", f"{TOP}/a/b") == "blue sky\n"
    assert tool("list", TOP).split() == ["a", "c"] == store.list(TOP)
    store.write(f"{TOP}/binary", b"\x01\xff\\")
    assert tool("read", f"{TOP}/binary") == "\\001\\xff\\\\\n"
    store.remove(f"{TOP}/a")
    assert subprocess.run(["xenstore-exists", f"{TOP}/a"], check=False, timeout=120).returncode == 1


def test_what_the_tools_write_is_read(store: Xenstore) -> None:
    tool("write", f"{TOP}/a", "blue sky", f"{TOP}/b", "green")
    assert store.read_many([f"{TOP}/a", f"{TOP}/b"]) == {f"{TOP}/a": "blue sky", f"{TOP}/b": "green"}
    tool("rm", f"{TOP}/a")
    assert store.list(TOP) == ["b"]


def test_permissions(store: Xenstore, idle: Domain) -> None:
    store.write(f"{TOP}/a", "1")
    store.set_permissions(f"{TOP}/a", NodePermissions(idle.domid, "read", {0: "both", 77: "write"}))
    assert f"(r{idle.domid},b0,w77)" in tool("ls", "-p", TOP)
    tool("chmod", f"{TOP}/a", "n0", f"b{idle.domid}")
    assert store.permissions(f"{TOP}/a") == NodePermissions(0, "none", {idle.domid: NodeAccess.BOTH})


def test_the_whole_store_is_what_xenstore_ls_prints(store: Xenstore, idle: Domain) -> None:
    def walk(path: str) -> Iterator[str]:
        yield path
        for name in store.list(path):
            yield from walk(f"{path.rstrip('/')}/{name}")

    printed = [line.split(" = ")[0] for line in tool("ls", "-f", idle.xenstore_path).splitlines()]
    assert [*walk(idle.xenstore_path)][1:] == printed
    values = store.read_many(printed)
    shown = dict(line.split(" = ") for line in tool("ls", "-f", idle.xenstore_path).splitlines())
    assert {path: f'"{value}"' for path, value in values.items()} == shown


def test_a_watch_sees_what_the_tools_do(store: Xenstore) -> None:
    with store.watch(TOP) as watch:
        assert watch.get(60) == NodeChange(TOP, TOP)
        tool("write", f"{TOP}/a", "1")
        assert watch.get(60) == NodeChange(f"{TOP}/a", TOP)
        tool("rm", TOP)
        assert watch.get(60) == NodeChange(TOP, TOP)


def test_a_guest_that_shuts_down_is_reported(host: Host, store: Xenstore, tiny: MakeConfig) -> None:
    with store.watch("@releaseDomain", timeout=60) as watch:
        next(watch)
        domain = host.create(tiny(name="brief", cmdline="poweroff", on_poweroff="preserve"))
        for _ in watch:
            if domain.info().shutdown_reason is not None:
                break
    domain.destroy()
    wait_until(lambda: not store.exists(domain.xenstore_path))
