"""The host's xenstore, read, written and watched."""

from __future__ import annotations

import gc
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import pyxen
from pyxen import (
    DomainNotFound,
    Feature,
    Host,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NodeAccess,
    NodeChange,
    NodeNotFound,
    NodePermissions,
    OperationTimeout,
    Xenstore,
    XenstoreConflict,
    XenstoreTransaction,
    XenstoreWatch,
)
from tests.backends.support import SECONDS, Make, wait_until

pytestmark = pytest.mark.needs(Feature.XENSTORE)

TOP = "/tool/pyxen-contract"


@pytest.fixture
def store(host: Host) -> Iterator[Xenstore]:
    """The store, with an empty folder for the test."""
    is_there = host.supports(Feature.XENSTORE)
    if is_there:
        host.xenstore.remove(TOP)
    yield host.xenstore
    if is_there:
        host.xenstore.remove(TOP)


def changes(watch: XenstoreWatch, count: int) -> list[str]:
    """Return the paths of the next changes."""
    found: list[str] = []
    for _ in range(count):
        change = watch.get(SECONDS)
        assert change is not None, f"no more changes after {found}"
        assert not change.lost
        found.append(change.path)
    return found


# Nodes


def test_values(store: Xenstore) -> None:
    node = f"{TOP}/a/b"
    assert not store.exists(node)
    store.write(node, "blue")
    assert store.read(node) == "blue"
    assert store.read_bytes(node) == b"blue"
    assert store.exists(node)
    assert store.exists(f"{TOP}/a")
    assert store.read(f"{TOP}/a") == ""
    store.write(node, "")
    assert store.read(node) == ""


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"a\0b\0", "käse".encode(), bytes(range(256))])
def test_any_bytes_are_kept_by_both_ways_of_reading(store: Xenstore, value: bytes) -> None:
    store.write(f"{TOP}/a", value)
    assert store.read_bytes(f"{TOP}/a") == value
    store.write(f"{TOP}/b", store.read(f"{TOP}/a"))
    assert store.read_bytes(f"{TOP}/b") == value


def test_children(store: Xenstore) -> None:
    for name in ("z", "a", "m", "b@1", "A-_"):
        store.mkdir(f"{TOP}/{name}")
    assert store.list(TOP) == ["z", "a", "m", "b@1", "A-_"]
    store.remove(f"{TOP}/a")
    store.mkdir(f"{TOP}/a")
    assert store.list(TOP) == ["z", "m", "b@1", "A-_", "a"]
    assert store.list(f"{TOP}/z") == []
    assert "local" in store.list("/")


def test_more_children_than_fit_into_a_message(store: Xenstore) -> None:
    names = [f"a-child-with-a-long-name-{number}" for number in range(400)]

    def fill(transaction: XenstoreTransaction) -> list[str]:
        for name in names:
            transaction.mkdir(f"{TOP}/{name}")
        return transaction.list(TOP)

    assert store.transaction(fill) == names
    assert store.list(TOP) == names
    store.remove(TOP)
    assert not store.exists(TOP)


def test_read_many(store: Xenstore) -> None:
    wanted = [f"{TOP}/{number}" for number in range(100)]
    for path in wanted[::2]:
        store.write(path, path[-1])
    found = store.read_many(wanted)
    assert list(found) == wanted
    assert found == {path: path[-1] if path in wanted[::2] else None for path in wanted}
    assert store.read_many([]) == {}


def test_mkdir_and_remove_are_content_with_what_is_there(store: Xenstore) -> None:
    store.write(f"{TOP}/a", "1")
    store.mkdir(f"{TOP}/a")
    assert store.read(f"{TOP}/a") == "1"
    store.write(f"{TOP}/a/b/c", "2")
    store.remove(f"{TOP}/a")
    assert not store.exists(f"{TOP}/a/b/c")
    store.remove(f"{TOP}/a")
    store.remove(f"{TOP}/none/below/it")


def test_a_missing_node(store: Xenstore) -> None:
    path = f"{TOP}/none"
    calls = (
        lambda: store.read(path),
        lambda: store.read_bytes(path),
        lambda: store.list(path),
        lambda: store.permissions(path),
        lambda: store.set_permissions(path, NodePermissions(0)),
    )
    for call in calls:
        with pytest.raises(NodeNotFound, match=f"{path}: there is no such node") as caught:
            call()
        assert caught.value.path == path
        assert isinstance(caught.value, LookupError)


def test_a_relative_path_is_this_domains(store: Xenstore) -> None:
    name = f"pyxen-{uuid.uuid4()}"
    own = f"/local/domain/{store.read('domid')}"
    store.write(f"{name}/a", "1")
    try:
        assert store.read(f"{own}/{name}/a") == "1"
        assert store.list(name) == ["a"]
    finally:
        store.remove(name)
    assert not store.exists(f"{own}/{name}")


# What is not valid

BAD_PATHS = ["", "/a/", "//", "/a//b", "/a b", "/a.b", "/é", "/a\0b", "/a\nb", "@releaseDomain", "@x", "/" + "a" * 3072]


@pytest.mark.parametrize("path", [*BAD_PATHS, "a" * 2049, None, 7, b"/a"])
def test_a_path_that_is_not_valid(store: Xenstore, path: str) -> None:
    calls = (
        lambda: store.read(path),
        lambda: store.read_bytes(path),
        lambda: store.read_many([TOP, path]),
        lambda: store.exists(path),
        lambda: store.list(path),
        lambda: store.write(path, "1"),
        lambda: store.mkdir(path),
        lambda: store.remove(path),
        lambda: store.permissions(path),
        lambda: store.set_permissions(path, NodePermissions(0)),
        lambda: store.transaction(lambda transaction: transaction.write(path, "1")),
    )
    for call in calls:
        with pytest.raises(InvalidArgument):
            call()
    if path != "@releaseDomain":
        with pytest.raises(InvalidArgument):
            store.watch(path)
    assert store.exists("/")


def test_the_longest_paths_and_values(store: Xenstore) -> None:
    home = "/local/domain/0/pyxen-contract"
    path = home + "/" + "a" * (2048 - len(home) + len("/local/domain/0/") - 1)
    try:
        store.write(path, "1")
        assert store.read(path) == "1"
        store.write(home, b"x" * (4095 - len(home)))
        assert len(store.read_bytes(home)) == 4095 - len(home)
        with pytest.raises(InvalidArgument, match="are the most"):
            store.write(home, b"x" * (4096 - len(home)))
    finally:
        store.remove(home)


@pytest.mark.parametrize("value", [None, 7, 1.5, ["a"], object()])
def test_a_value_that_is_not_valid(store: Xenstore, value: str) -> None:
    with pytest.raises(InvalidArgument, match="not text or bytes"):
        store.write(f"{TOP}/a", value)
    assert not store.exists(f"{TOP}/a")


def test_the_root_stays(store: Xenstore) -> None:
    with pytest.raises(InvalidArgument, match="root"):
        store.remove("/")
    assert store.exists("/")


def test_one_path_is_not_several(store: Xenstore) -> None:
    with pytest.raises(InvalidArgument, match="list of paths"):
        store.read_many(TOP)


# Permissions


def test_permissions(store: Xenstore, make: Make) -> None:
    store.mkdir(TOP)
    assert store.permissions(TOP).owner == 0
    domid = make("web1", paused=True).domid
    wanted = NodePermissions(domid, "read", {0: "both", domid + 1: NodeAccess.WRITE, domid + 2: "none"})
    store.set_permissions(TOP, wanted)
    assert store.permissions(TOP) == wanted
    store.set_permissions(TOP, NodePermissions(0, domains={domid: "read"}))
    store.write(f"{TOP}/a/b", "1")
    assert store.permissions(f"{TOP}/a/b") == NodePermissions(0, "none", {domid: NodeAccess.READ})
    store.set_permissions(TOP, NodePermissions(0))
    assert store.permissions(f"{TOP}/a/b").domains == {domid: "read"}


def test_permissions_that_are_not_valid(store: Xenstore) -> None:
    store.mkdir(TOP)
    with pytest.raises(DomainNotFound, match="owner, domain 32000"):
        store.set_permissions(TOP, NodePermissions(32000))
    many = NodePermissions(0, domains=dict.fromkeys(range(1, 2000), NodeAccess.READ))
    with pytest.raises(InvalidArgument, match="too many"):
        store.set_permissions(TOP, many)
    with pytest.raises(InvalidArgument, match="NodePermissions"):
        store.set_permissions(TOP, "r0")  # type: ignore[arg-type]  # wrong on purpose
    assert store.permissions(TOP).domains == {}


# Transactions


def test_a_transaction(store: Xenstore) -> None:
    def change(transaction: XenstoreTransaction) -> str:
        transaction.write(f"{TOP}/a", "1")
        transaction.mkdir(f"{TOP}/b")
        transaction.write(f"{TOP}/c", "3")
        transaction.remove(f"{TOP}/c")
        assert not store.exists(f"{TOP}/a")
        assert transaction.exists(f"{TOP}/b")
        assert transaction.read_many([f"{TOP}/a", f"{TOP}/c"]) == {f"{TOP}/a": "1", f"{TOP}/c": None}
        assert transaction.list(TOP) == ["a", "b"]
        transaction.set_permissions(f"{TOP}/b", NodePermissions(0, "read"))
        assert transaction.permissions(f"{TOP}/b").others == "read"
        return transaction.read(f"{TOP}/a") + transaction.read_bytes(f"{TOP}/b").decode()

    assert store.transaction(change) == "1"
    assert store.list(TOP) == ["a", "b"]
    assert store.permissions(f"{TOP}/b").others == "read"


def test_a_transaction_that_raises_changes_nothing(store: Xenstore) -> None:
    def change(transaction: XenstoreTransaction) -> None:
        transaction.write(f"{TOP}/a", "1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.transaction(change)
    assert not store.exists(f"{TOP}/a")
    with pytest.raises(NodeNotFound):
        store.transaction(lambda transaction: transaction.read(f"{TOP}/none"))


def test_counting_by_many_threads(store: Xenstore) -> None:
    store.write(f"{TOP}/count", "0")

    def add(transaction: XenstoreTransaction) -> None:
        transaction.write(f"{TOP}/count", str(int(transaction.read(f"{TOP}/count")) + 1))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(store.transaction, add, tries=1000) for _ in range(40)]:
            done.result(SECONDS)
    assert store.read(f"{TOP}/count") == "40"


@pytest.mark.parametrize("tries", [1, 3])
def test_a_conflict(store: Xenstore, tries: int) -> None:
    store.write(f"{TOP}/a", "1")
    calls = []

    def change(transaction: XenstoreTransaction) -> None:
        calls.append(transaction.read(f"{TOP}/a"))
        store.write(f"{TOP}/a", f"other {len(calls)}")
        transaction.write(f"{TOP}/b", "2")

    with pytest.raises(XenstoreConflict, match=f"each of {tries} attempts"):
        store.transaction(change, tries=tries)
    assert len(calls) == tries
    assert store.list(TOP) == ["a"]


@pytest.mark.parametrize(
    ("inside", "outside", "conflicts"),
    [
        ("read a", "write a", True),
        ("read none", "write none", True),
        ("write a", "write a", True),
        ("write new", "write other", True),  # both change the folder's list
        ("write a", "write b", False),
        ("read a", "write b", False),
        ("list .", "write b", False),
        ("list .", "remove b", True),
        ("read a", "permit a", True),
        ("remove b", "write b/c", True),
    ],
)
def test_what_conflicts(store: Xenstore, inside: str, outside: str, conflicts: bool) -> None:
    for name in ("a", "b"):
        store.write(f"{TOP}/{name}", "1")

    def do(what: str, nodes: Xenstore | XenstoreTransaction) -> None:
        verb, _, name = what.partition(" ")
        path = f"{TOP}/{name}".removesuffix("/.")
        if verb == "permit":
            nodes.set_permissions(path, NodePermissions(0, "read"))
        elif verb == "write":
            nodes.write(path, "2")
        elif name == "none":
            assert not nodes.exists(path)
        else:
            getattr(nodes, verb)(path)

    def change(transaction: XenstoreTransaction) -> None:
        do(inside, transaction)
        do(outside, store)
        transaction.write("/tool/pyxen-contract-2", "")

    try:
        if conflicts:
            with pytest.raises(XenstoreConflict):
                store.transaction(change, tries=1)
        else:
            store.transaction(change, tries=1)
    finally:
        store.remove("/tool/pyxen-contract-2")


def test_a_transaction_ends_with_its_function(store: Xenstore) -> None:
    kept: list[XenstoreTransaction] = []
    store.transaction(kept.append)
    for call in (kept[0].read, kept[0].list, kept[0].remove):
        with pytest.raises(InvalidState, match="ended"):
            call(TOP)


@pytest.mark.parametrize("tries", [0, -1, 1001, 1.5, "3", True, None])
def test_tries_that_are_not_valid(store: Xenstore, tries: int) -> None:
    with pytest.raises(InvalidArgument, match="tries="):
        store.transaction(lambda _: None, tries=tries)


def test_a_function_that_is_not_valid(store: Xenstore) -> None:
    async def change(_: XenstoreTransaction) -> None:
        """Do nothing."""

    with pytest.raises(InvalidArgument, match="plain function"):
        store.transaction(change)  # type: ignore[unused-coroutine]  # wrong on purpose
    with pytest.raises(InvalidArgument, match="takes a function"):
        store.transaction("read")  # type: ignore[arg-type]  # wrong on purpose


# Watches


def test_a_watch(store: Xenstore) -> None:
    node = f"{TOP}/a"
    with store.watch(node) as watch:
        assert watch.get(SECONDS) == NodeChange(node, node)
        store.write(node, "1")
        store.write(f"{TOP}/b", "1")
        store.write(f"{node}/b/c", "1")
        store.set_permissions(f"{node}/b", NodePermissions(0, "read"))
        store.mkdir(f"{node}/b")
        store.remove(f"{node}/b")
        store.remove(TOP)
        assert changes(watch, 5) == [node, f"{node}/b/c", f"{node}/b", f"{node}/b", node]
        assert watch.get(0.05) is None


def test_several_nodes_and_several_watches(store: Xenstore) -> None:
    paths = [f"{TOP}/{name}" for name in "abc"]
    with store.watch(*paths) as watch, store.watch(paths[1], TOP) as other:
        assert sorted(changes(watch, 3)) == paths
        assert sorted(changes(other, 2)) == [TOP, paths[1]]
        store.write(paths[1], "1")
        change = watch.get(SECONDS)
        assert change == NodeChange(paths[1], paths[1])
        assert {change.watched for change in (other.get(SECONDS), other.get(SECONDS)) if change} == {TOP, paths[1]}


def test_a_transaction_is_reported_when_it_is_committed(store: Xenstore) -> None:
    with store.watch(TOP) as watch:
        changes(watch, 1)

        def change(transaction: XenstoreTransaction) -> None:
            transaction.write(f"{TOP}/a", "1")
            transaction.write(f"{TOP}/a", "2")
            transaction.write(f"{TOP}/b", "1")
            transaction.remove(f"{TOP}/b")
            assert watch.get(0.05) is None

        store.transaction(change)
        assert changes(watch, 1) == [f"{TOP}/a"]
        assert watch.get(0.05) is None


def test_a_relative_watch_reports_relative_paths(store: Xenstore) -> None:
    name = f"pyxen-{uuid.uuid4()}"
    with store.watch(name) as watch:
        assert changes(watch, 1) == [name]
        store.write(f"/local/domain/{store.read('domid')}/{name}/a", "1")
        try:
            assert changes(watch, 1) == [f"{name}/a"]
        finally:
            store.remove(name)


def test_domains_that_come_and_go(store: Xenstore, make: Make) -> None:
    with store.watch("@introduceDomain", "@releaseDomain") as watch:
        assert sorted(changes(watch, 2)) == ["@introduceDomain", "@releaseDomain"]
        domain = make("web1")
        assert changes(watch, 1) == ["@introduceDomain"]
        domain.destroy()
        assert changes(watch, 1) == ["@releaseDomain"]


def test_a_loop_over_changes(store: Xenstore) -> None:
    writer = threading.Timer(0.05, lambda: store.write(f"{TOP}/ready", "1"))
    with store.watch(f"{TOP}/ready", timeout=SECONDS) as watch:
        writer.start()
        for change in watch:
            if store.exists(change.path):
                break
    writer.join(SECONDS)
    assert store.read(f"{TOP}/ready") == "1"


def test_the_deadline_of_a_loop(store: Xenstore) -> None:
    with store.watch(TOP, timeout=1) as watch:
        assert changes(watch, 1) == [TOP]  # however long that takes
        with pytest.raises(OperationTimeout, match="deadline"):
            next(watch)


def test_a_reader_that_is_too_slow_is_told(store: Xenstore) -> None:
    with store.watch(TOP, f"{TOP}/9", maxlen=3) as watch, store.watch(TOP) as other:
        changes(other, 1)
        for number in range(10):
            store.write(f"{TOP}/{number}", "1")
        changes(other, 10)
        found = [*iter(lambda: watch.get(0.05), None)]
        assert [change.lost for change in found] == [False, False, False, True, True]
        assert {change.path for change in found if change.lost} == {TOP, f"{TOP}/9"}
        store.write(f"{TOP}/0", "2")
        assert changes(watch, 1) == [f"{TOP}/0"]


def test_watches_that_end(store: Xenstore) -> None:
    watch = store.watch(TOP)
    changes(watch, 1)
    reader = threading.Thread(target=lambda: [*watch])
    reader.start()
    watch.close()
    watch.close()
    reader.join(SECONDS)
    assert not reader.is_alive()
    with pytest.raises(HostClosed):
        watch.get(0)
    assert "closed" in repr(watch)
    store.watch(TOP)
    gc.collect()  # one that was forgotten ends, too
    with store.watch(TOP) as other:
        assert changes(other, 1) == [TOP]


@pytest.mark.parametrize("maxlen", [0, -1, "3", None])
def test_a_watch_that_is_not_valid(store: Xenstore, maxlen: int) -> None:
    with pytest.raises(InvalidArgument, match="maxlen="):
        store.watch(TOP, maxlen=maxlen)
    with pytest.raises(InvalidArgument, match="timeout="):
        store.watch(TOP, timeout=-1)
    with pytest.raises(InvalidArgument, match="at least one"):
        store.watch()


# The host


def test_a_host_that_is_closed(uri: str, store: Xenstore) -> None:
    with pyxen.connect(uri) as other:
        watch = other.xenstore.watch(TOP)
        changes(watch, 1)
        other.xenstore.write(TOP, "1")
        other.close()
        assert [change.path for change in watch] == [TOP]
        calls = (
            lambda: other.xenstore.read(TOP),
            lambda: other.xenstore.write(TOP, "2"),
            lambda: other.xenstore.watch(TOP),
            lambda: other.xenstore.transaction(lambda _: None),
            lambda: watch.get(0),
        )
        for call in calls:
            with pytest.raises(HostClosed):
                call()
    assert store.read(TOP) == "1"


def test_a_host_that_is_closed_in_a_transaction(uri: str, store: Xenstore) -> None:
    with pyxen.connect(uri) as other:

        def change(transaction: XenstoreTransaction) -> None:
            transaction.write(TOP, "1")
            other.close()

        with pytest.raises(HostClosed):
            other.xenstore.transaction(change)
    assert not store.exists(TOP)


def test_many_threads(store: Xenstore) -> None:
    def work(number: int) -> list[str]:
        path = f"{TOP}/{number}"
        with store.watch(path) as watch:
            changes(watch, 1)
            for value in range(10):
                store.write(path, str(value))
                changes(watch, 1)
                assert store.read(path) == str(value)
        return store.list(path)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[]] * 8


def test_what_a_guest_has_there(host: Host, store: Xenstore, make: Make) -> None:
    domain = make("web1", vcpus=1, maxvcpus=2, paused=True)
    top = domain.xenstore_path
    assert top == f"/local/domain/{domain.domid}"
    vm = f"/vm/{domain.uuid}"
    nodes = [f"{top}/name", f"{top}/vm", f"{top}/domid", f"{top}/memory/target", f"{vm}/name", f"{vm}/uuid"]
    nodes += [f"{top}/control/shutdown", f"{top}/cpu/0/availability", f"{top}/cpu/1/availability"]
    values = ["web1", vm, str(domain.domid), str(8 * 1024), "web1", str(domain.uuid), "", "online", "offline"]
    assert store.read_many(nodes) == dict(zip(nodes, values, strict=True))
    assert store.permissions(f"{top}/name") == NodePermissions(0, domains={domain.domid: "read"})
    assert store.permissions(f"{top}/data") == NodePermissions(domain.domid)
    assert {"device", "memory", "control", "data", "console"} <= {*store.list(top)}
    if host.supports("rename"):
        domain.rename("web2")
        assert store.read(f"{top}/name") == "web2"
    domain.destroy()
    wait_until(lambda: not store.exists(top) and not store.exists(vm))


def test_a_name_that_another_program_writes(host: Host, store: Xenstore, make: Make) -> None:
    domain = make("web1", paused=True)
    with host.events(pyxen.DomainRenamed) as events:
        store.write(f"{domain.xenstore_path}/name", "web2")
        event = events.get(SECONDS)
    assert isinstance(event, pyxen.DomainRenamed)
    assert (event.old, event.new) == ("web1", "web2")
    assert host.domains["web2"] == domain
