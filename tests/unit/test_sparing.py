"""Which domains are spared by the verbs that end, stop or move one: dom0, that of xenstored, and the program's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

import pyxen.aio
from pyxen import Domain, DomainConfig, DomainNotFound, InvalidState
from pyxen._common import sparing
from pyxen._common.sparing import NOT_TO_DOM0, XENSTORE_DOMID, check_spared, domid_of, own_uuid
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.verbs import VERBS
from pyxen.backends.virt_calls import LibvirtCalls
from pyxen.serve.policy import LOOKS
from pyxen.testing import FakeHost
from tests.backends.test_life import SPARED
from tests.unit.remote.ends import served

OURS = UUID(int=7)

HARMLESS = LOOKS | frozenset(
    # They make domains, or change what is stored of them.
    {"create", "check_create", "restore", "receive_migration", "start", "define", "undefine", "set_autostart"}
    | {"update_config", "rename", "set_userdata", "userdata", "saved_config"}
    # A domain goes on with them, and dom0 with what xl does to it, too.
    | {"attach", "detach", "insert_cdrom", "eject_cdrom", "add_console", "set_memory", "set_maxmem", "set_vcpus"}
    | {"pin_vcpu", "set_node_affinity", "set_scheduler", "set_cpupool", "psr_attach", "psr_detach", "psr_set"}
    | {"device_tree_attach", "console", "await_console", "monitor_command", "qmp", "qmp_events"}
    # They are of the host.
    | {"create_cpupool", "destroy_cpupool", "rename_cpupool", "add_cpus", "remove_cpus", "split_cpupools"}
    | {"set_pool_scheduler", "pci_assignable_add", "pci_assignable_remove", "make_overlay", "remove_overlay"}
    | {"debug_keys", "set_parameters", "hypfs_write", "flask_set_enforcing", "flask_load_policy", "devd"}
    | {"device_tree_add", "device_tree_remove", "remove_orphans"}
    # libvirt's own.
    | {"capabilities", "domain_capabilities", "compare_cpu", "baseline_cpu", "networks", "pools", "volumes"}
    | {"has_managed_save", "remove_managed_save", "job", "abort_job", "metadata", "set_metadata", "addresses"}
    | {"pinning", "xml"}
)
"""The verbs that neither end nor stop nor move a domain."""


def test_every_verb_has_its_place() -> None:
    """A new one that ends, stops or moves a domain would do it to dom0 if nobody had thought of that."""
    backends = {name.removesuffix("_over") for name in VERBS if not name.startswith(("store_", "claims_"))}
    libvirts = {name for name, found in vars(LibvirtCalls).items() if callable(found) and not name.startswith("_")}
    assert backends | libvirts == HARMLESS | NOT_TO_DOM0
    assert set() == HARMLESS & NOT_TO_DOM0
    assert {verb.removesuffix("_over") for verb in SPARED} == NOT_TO_DOM0 - libvirts | {"migrate"}


@pytest.mark.parametrize("verb", sorted(NOT_TO_DOM0))
def test_who_is_spared(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "own_uuid", lambda: OURS)
    for domid, uuid, why in (
        (0, None, "domain 0 is dom0"),
        (5, None, "domain 5 runs xenstored"),
        (6, None, "this process runs in domain 6: do this from dom0"),
        (8, OURS, "this process runs in domain 8: do this from dom0"),
    ):
        with pytest.raises(InvalidState, match=why) as caught:
            check_spared(verb, domid, uuid, own=6, xenstore=5)
        assert (caught.value.operation, caught.value.domid) == (verb, domid)
    check_spared(verb, 8, UUID(int=8), own=6, xenstore=5)
    check_spared("config", 0, OURS, own=0, xenstore=0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"type": "xen\n", "uuid": f"{OURS}\n"}, OURS),
        ({"type": "xen\n", "uuid": f"{UUID(int=0)}\n"}, None),  # dom0
        ({"type": "other\n", "uuid": f"{OURS}\n"}, None),
        ({"type": "xen\n", "uuid": "<denied>\n"}, None),
        ({"type": "xen\n"}, None),
    ],
)
def test_the_uuid_of_the_guest_that_it_runs_in(tmp_path: Path, files: dict[str, str], expected: UUID | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert own_uuid(str(tmp_path)) == expected


@pytest.mark.parametrize(("text", "domid"), [(None, None), ("3", 3), (b"3", 3), ("", None), ("three", None)])
def test_the_domid_in_a_node(text: str | bytes | None, domid: int | None) -> None:
    assert domid_of(text) == domid


def store_and_web(host: FakeHost | pyxen.Host) -> tuple[Domain, Domain]:
    """Return the domain that xenstored runs in, and a guest."""
    store, web = (host.create(DomainConfig(name, type="pvh", kernel="/k", memory=64)) for name in ("store", "web"))
    host.xenstore.write(XENSTORE_DOMID, str(store.domid))
    return store, web


def check_spares(store: Domain, web: Domain, host: pyxen.Host) -> None:
    calls: tuple[Callable[[], object], ...] = (store.destroy, store.pause, store.shutdown, store.suspend)
    for call in calls:
        with pytest.raises(InvalidState, match="runs xenstored, which all domains of the host need"):
            call()
    assert [guest.uuid for guest in host.guests] == [web.uuid]
    assert len(host.guests) == 1
    assert store not in host.guests
    assert store in host.domains
    with pytest.raises(DomainNotFound):
        host.guests["store"]
    host.guests.shutdown_all(timeout=30)
    assert web.uuid not in {info.uuid for info in host.list() if info.is_running}
    assert store.info().is_running


def test_the_domain_of_xenstored() -> None:
    with FakeHost() as host:
        store, web = store_and_web(host)
        check_spares(store, web, host)


def test_the_domain_of_xenstored_on_a_host_that_is_served() -> None:
    with served("memory:///xenstored") as found:
        _, web = store_and_web(found.there)
        check_spares(found.host.domains["store"], web, found.host)


def test_a_host_that_is_served_is_asked_for_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = Client.ask

    def noted(self: Client, name: str, **arguments: object) -> object:
        asked.append(name)
        return ask(self, name, **arguments)

    monkeypatch.setattr(Client, "ask", noted)
    with served("memory:///once") as found:
        store_and_web(found.there)
        assert [guest.name for guest in found.host.guests] == ["web"]
        assert found.host.guests["web"].name == "web"
    assert asked.count("xenstore_domid") == 1


def test_the_domain_of_xenstored_on_an_older_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with served("memory:///older") as found:
        _, web = store_and_web(found.there)
        client = found.host._backend.client  # type: ignore[attr-defined]
        monkeypatch.setattr(client, "verbs", client.verbs - {"xenstore_domid"})
        assert [guest.uuid for guest in found.host.guests] == [web.uuid]


def test_the_domain_of_xenstored_for_asyncio() -> None:
    async def main(uri: str) -> list[str | None]:
        async with await pyxen.aio.connect(uri) as host:
            return [guest.name async for guest in host.guests]

    with FakeHost() as host:
        store_and_web(host)
        assert asyncio.run(main(host.uri)) == ["web"]


def test_the_program_is_a_guest_of_a_host_that_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other end runs in its dom0, and does not know where the program runs."""
    with served("memory:///ours") as found:
        ours, others = (
            found.host.create(DomainConfig(name, type="pvh", kernel="/k", memory=64)) for name in ("ours", "others")
        )
        monkeypatch.setattr(sparing, "own_uuid", lambda: ours.uuid)
        for call in (ours.destroy, ours.pause, lambda: ours.migrate_over(0, 1), lambda: ours.save("/srv/save")):
            with pytest.raises(InvalidState, match="this process runs in domain"):
                call()
        others.destroy()
        ours.rename("mine")
        assert [guest.name for guest in found.host.guests] == ["mine"]
