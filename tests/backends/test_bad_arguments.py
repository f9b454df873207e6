"""What is no argument of a verb is refused with an error of pyxen's, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig, DomainNotFound, Host, InvalidArgument, NodePermissions, Scheduler, UnsupportedFeature
from tests.backends.support import Make

HUGE = 10**5000
"""Python does not show it: it has more digits than 4,300."""

Call = Callable[[Host, Any], object]

WRONG: dict[str, Call] = {
    "a pin to no set of CPUs": lambda _, domain: domain.pin_vcpu(0, "x"),
    "a pin to a CPU that no host has": lambda _, domain: domain.pin_vcpu(0, "99999"),
    "a pin to a truth": lambda _, domain: domain.pin_vcpu(0, [True]),
    "a pin to a mix": lambda _, domain: domain.pin_vcpu(0, [0, "x", None]),
    "a soft pin to a list of lists": lambda _, domain: domain.pin_vcpu(0, cpus_soft=[[0]]),
    "a pool of no set of CPUs": lambda host, _: host.cpupools.create("x", cpus="x"),
    "a pool of a truth": lambda host, _: host.cpupools.create("x", cpus=[True]),
    "a trigger for text": lambda _, domain: domain.send_trigger("nmi", vcpu="1"),
    "a trigger for nothing": lambda _, domain: domain.send_trigger("nmi", vcpu=None),
    "a trigger for half a vCPU": lambda _, domain: domain.send_trigger("nmi", vcpu=1.5),
    "a trigger for a truth": lambda _, domain: domain.send_trigger("nmi", vcpu=True),
    "a domain by a truth": lambda host, _: host.domains[True],
    "perhaps a domain by a truth": lambda host, _: host.guests.get(True),
    "a console at a truth": lambda _, domain: domain.add_console(port=True, gfn=1),
    "a console in half a frame": lambda _, domain: domain.add_console(port=1, gfn=1.5),
    "a console of text": lambda _, domain: domain.add_console(port=1, gfn=1, backend_domid="0"),
    "a console of nobody": lambda _, domain: domain.add_console(port=1, gfn=1, backend_domid=None),
    "a monitor's command that is a number": lambda _, domain: domain.monitor_command(5),
    "a shutdown of all in no time": lambda host, _: host.guests.shutdown_all(timeout=math.nan),
    "a reboot of all in a negative time": lambda host, _: host.guests.reboot_all(timeout=-1),
    "a start after no domain": lambda host, domain: host.vm(domain.uuid).wait_start(after="web1"),  # type: ignore[arg-type]
    "a feature that there is not": lambda host, _: host.supports("teleport"),  # type: ignore[arg-type]
}

NUMBERS: dict[str, Callable[[Host, Any, int], object]] = {
    "domains": lambda host, _, number: host.domains[number],
    "cpupools": lambda host, _, number: host.cpupools[number],
    "set_cpupool": lambda _, domain, number: domain.set_cpupool(number),
    "set_vcpus": lambda _, domain, number: domain.set_vcpus(number),
    "set_memory": lambda _, domain, number: domain.set_memory(number),
    "set_maxmem": lambda _, domain, number: domain.set_maxmem(maxmem_kib=number),
    "pin_vcpu": lambda _, domain, number: domain.pin_vcpu(number, [0]),
    "pin_vcpu to it": lambda _, domain, number: domain.pin_vcpu(0, [number]),
    "scheduler": lambda _, domain, number: domain.scheduler(vcpu=number),
    "set_scheduler": lambda _, domain, number: domain.set_scheduler(Scheduler(weight=number)),
    "console": lambda _, domain, number: domain.console(number=number),
    "add_console": lambda _, domain, number: domain.add_console(port=number, gfn=1),
    "send_trigger": lambda _, domain, number: domain.send_trigger("nmi", vcpu=number),
    "set_node_affinity": lambda _, domain, number: domain.set_node_affinity([number]),
    "pool": lambda host, _, number: host.pool(DomainConfig("b", kernel="/k", memory=64), size=number),
    "clone": lambda host, _, number: host.clone("/x", number),
    "create_cpupool": lambda host, _, number: host.cpupools.create("x", cpus=[number]),
    "tries": lambda host, _, number: host.xenstore.transaction(lambda _: None, tries=number),
    "disks": lambda _, domain, number: domain.disks[number],
    "vifs": lambda _, domain, number: domain.vifs[number],
    "sysrq": lambda _, domain, number: domain.send_sysrq(number),
    "detach": lambda _, domain, number: domain.detach(number),
    "rename": lambda _, domain, number: domain.rename(number),
    "psr": lambda host, domain, number: host.psr.get(domain, "l3", socket=number),
    "a node": lambda host, _, number: host.xenstore.write("/tool/a", number),  # type: ignore[arg-type]
    "permissions": lambda host, _, number: host.xenstore.set_permissions("/tool", NodePermissions(number)),
    "a host": lambda _, __, number: pyxen.Hosts({"a": "memory:///"}, at_once=number),
    "workers": lambda _, __, number: pyxen.connect("memory:///", workers=number),
    "events of": lambda host, _, number: host.events(number),  # type: ignore[call-overload]
    "vm": lambda host, _, number: host.vm(number),  # type: ignore[arg-type]
}

BOOLS: dict[str, Callable[[Host, Any, Any], object]] = {
    "create": lambda host, _, word: host.create(DomainConfig("b", kernel="/k", memory=64), paused=word),
    "dom0's memory": lambda host, _, word: host.check_create(
        DomainConfig("b", kernel="/k", memory=64), autoballoon=word
    ),
    "a dry run": lambda host, _, word: host.apply(DomainConfig("b", kernel="/k", memory=64), dry_run=word),
    "what is kept": lambda host, _, word: host.apply(DomainConfig("b", kernel="/k", memory=64), persistent=word),
    "restore": lambda host, _, word: host.restore("/x", paused=word),
    "receive_migration": lambda host, _, word: host.receive_migration(0, 1, remus=word),
    "start": lambda host, _, word: host.start("b", paused=word),
    "clone": lambda host, _, word: host.clone("/x", 1, paused=word),
    "some clones": lambda host, _, word: host.clone("/x", 1, partial=word),
    "define": lambda host, _, word: host.define(DomainConfig("b", kernel="/k", memory=64), autostart=word),
    "autostart": lambda host, _, word: host.set_autostart("b", word),
    "flask": lambda host, _, word: host.flask.set_enforcing(word),
    "a driver that is kept": lambda host, _, word: host.pci.assignable_add("03:00.0", rebind=word),
    "shutdown": lambda _, domain, word: domain.shutdown(wait=word),
    "a shutdown by a button": lambda _, domain, word: domain.shutdown(wait=False, fallback=word),
    "reboot": lambda _, domain, word: domain.reboot(wait=word),
    "all": lambda host, _, word: host.guests.shutdown_all(wait=word),
    "a reboot of all": lambda host, _, word: host.guests.reboot_all(fallback=word),
    "save": lambda _, domain, word: domain.save("/x", checkpoint=word),
    "a save that pauses": lambda _, domain, word: domain.save("/x", leave_paused=word),
    "migrate": lambda _, domain, word: domain.migrate("memory:///b", paused=word),
    "remus": lambda _, __, word: pyxen.RemusOptions(allow_unsafe=word),
    "config": lambda _, domain, word: domain.config(defaults=word),
    "detach": lambda _, domain, word: domain.detach("xvda", force=word),
    "a disk": lambda _, domain, word: domain.disks.detach("xvda", force=word),
    "pin_vcpu": lambda _, domain, word: domain.pin_vcpu(0, [0], force=word),
    "log": lambda host, _, word: host.log(clear=word),
    "follow_log": lambda host, _, word: host.follow_log(whole=word),
    "hypfs": lambda host, _, word: host.hypfs.list(recursive=word),
}
"""What takes True or False, and would take any text for True."""


@pytest.mark.parametrize("word", ["no", 5], ids=repr)
@pytest.mark.parametrize("what", BOOLS)
def test_a_word_is_not_taken_for_true(host: Host, make: Make, what: str, word: object) -> None:
    domain = make("web1", paused=True)
    with pytest.raises((InvalidArgument, UnsupportedFeature)):
        BOOLS[what](host, domain, word)
    assert [guest.name for guest in host.guests] == ["web1"]


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_an_error_of_pyxens(host: Host, make: Make, what: str) -> None:
    domain = make("web1", paused=True)
    with pytest.raises(pyxen.Error) as caught:
        WRONG[what](host, domain)
    assert str(caught.value)


@pytest.mark.parametrize("number", [HUGE, -HUGE], ids=["huge", "hugely negative"])
@pytest.mark.parametrize("what", NUMBERS)
def test_a_number_that_python_does_not_show(host: Host, make: Make, what: str, number: int) -> None:
    domain = make("web1", paused=True)
    with pytest.raises(pyxen.Error) as caught:
        NUMBERS[what](host, domain, number)
    assert str(caught.value)


@pytest.mark.parametrize("key", [True, HUGE, -HUGE], ids=["true", "huge", "negative"])
def test_what_no_key_is_is_in_no_collection(host: Host, make: Make, key: object) -> None:
    make("web1", paused=True)
    assert key not in host.domains
    assert key not in host.guests


@pytest.mark.parametrize("domid", [-1, 2**31, 2**63])
def test_a_domid_that_no_domain_has(host: Host, domid: int) -> None:
    assert domid not in host.domains
    with pytest.raises(DomainNotFound):
        host.domains[domid]


@pytest.mark.parametrize("maxlen", [-HUGE, 0, 1.5, True, "many"], ids=["huge", "none", "half", "true", "text"])
def test_how_many_events_may_wait(host: Host, maxlen: Any) -> None:
    with pytest.raises(InvalidArgument, match="maxlen="):
        host.events(maxlen=maxlen)
