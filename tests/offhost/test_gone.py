"""A domain that goes just before a verb begins: every verb says that it is gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

import pyxen
from pyxen import Domain, DomainNotFound, Scheduler, Vif, Vkb
from tests.offhost.conftest import Configure
from tests.offhost.host import OffHost
from tests.offhost.internals import after_a_look, before_a_script, in_a_script

VERBS: Final[dict[str, Callable[[Domain, Path], object]]] = {
    "attach a vif": lambda d, _: d.attach(Vif(bridge="nobr0")),
    "attach a vkb": lambda d, _: d.attach(Vkb()),
    "config": lambda d, _: d.config(),
    "core_dump": lambda d, path: d.core_dump(path / "core"),
    "destroy": lambda d, _: d.destroy(),
    "detach": lambda d, _: d.detach("xvda"),
    "monitor_command": lambda d, _: d.monitor_command("info"),
    "pause": lambda d, _: d.pause(),
    "pin_vcpu": lambda d, _: d.pin_vcpu(0, "0"),
    "pin_vcpu of all": lambda d, _: d.pin_vcpu("all", "0"),
    "reboot": lambda d, _: d.reboot(),
    "rename": lambda d, _: d.rename("shop"),
    "save": lambda d, path: d.save(path / "saved", timeout=20),
    "send_sysrq": lambda d, _: d.send_sysrq("s"),
    "send_trigger": lambda d, _: d.send_trigger("nmi"),
    "set_cpupool": lambda d, _: d.set_cpupool("Pool-0"),
    "set_maxmem": lambda d, _: d.set_maxmem(128),
    "set_memory": lambda d, _: d.set_memory(12),
    "set_node_affinity": lambda d, _: d.set_node_affinity({0}),
    "set_scheduler": lambda d, _: d.set_scheduler(Scheduler(weight=512)),
    "set_userdata": lambda d, _: d.set_userdata("note", b"x"),
    "set_userdata to none": lambda d, _: d.set_userdata("note", None),
    "set_vcpus": lambda d, _: d.set_vcpus(1),
    "shutdown": lambda d, _: d.shutdown(timeout=20),
    "suspend": lambda d, _: d.suspend(timeout=20),
    "unpause": lambda d, _: d.unpause(),
    "update_config": lambda d, _: d.update_config(None),
    "userdata": lambda d, _: d.userdata("note"),
    "wait_memory": lambda d, _: d.wait_memory(timeout=20),
}

ENDING: Final = frozenset({"save", "send_sysrq", "shutdown"})
"""Those that do not notice it later: a save and a shutdown say what they were about, and a key is only sent."""


@pytest.mark.parametrize("moment", [before_a_script, in_a_script])
def test_it_goes(
    offhost: OffHost,
    host: pyxen.Host,
    config: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[[pytest.MonkeyPatch, Callable[[], object]], None],
) -> None:
    wrong: dict[str, object] = {}
    for number, (verb, act) in enumerate(VERBS.items()):
        if moment is in_a_script and verb in ENDING:
            continue
        domain = host.create(config(name=f"web{number}", vcpus=2))
        before = offhost.things()
        moment(monkeypatch, partial(offhost.world.remove, domain.domid))
        try:
            wrong[verb] = act(domain, tmp_path)
        except Exception as error:  # noqa: BLE001 (the assertion has it)
            if not isinstance(error, DomainNotFound) or error.domid != domain.domid:
                wrong[verb] = error
        if anew := [thing for thing in offhost.things() - before if not thing.startswith("event channel")]:
            wrong[f"{verb}, anew"] = anew
        offhost.forgive(rf"/{domain.domid}(/|$)|{domain.uuid}")
    assert not wrong
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("read", [Domain.memory, Domain.stats, Domain.uptime, Domain.endpoints, lambda d: [*d.disks]])
def test_it_goes_before_xenstore_is_read(
    offhost: OffHost,
    host: pyxen.Host,
    config: Configure,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Domain], object],
) -> None:
    """Nothing is found of it there, and that is no answer."""
    domain = host.create(config())

    def go() -> None:
        offhost.world.remove(domain.domid)
        for top in (f"/local/domain/{domain.domid}", f"/libxl/{domain.domid}", f"/vm/{domain.uuid}"):
            offhost.store.remove(top)

    after_a_look(monkeypatch, go)
    with pytest.raises(DomainNotFound, match="it is gone"):
        read(domain)
    offhost.forgive(rf"/{domain.domid}(/|$)|{domain.uuid}")


@pytest.mark.parametrize("verb", ["vcpus", "node_affinity", "scheduler"])
def test_it_goes_while_it_is_looked_at(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    domain = host.create(config())
    after_a_look(monkeypatch, partial(offhost.world.remove, domain.domid))
    with pytest.raises(DomainNotFound, match="it is gone"):
        getattr(domain, verb)()
    offhost.forgive(rf"/{domain.domid}(/|$)|{domain.uuid}")
