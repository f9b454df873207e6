"""What a way to a host cannot do it says, and the table in the documentation is right."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

import pyxen
from pyxen import CpuSet, Disk, Domain, DomainConfig, DomainUnpaused, Feature, Host, Scheduler
from tests.backends.differences import backend_of
from tests.backends.support import Make, supporting
from tools.backends import features, table

CALLS: dict[Feature, Callable[[Host, Domain, str], object]] = {
    Feature.EVENTS: lambda host, _domain, _folder: host.events().close(),
    Feature.PAUSE_EVENTS: lambda host, _domain, _folder: host.events(DomainUnpaused),
    Feature.TOPOLOGY: lambda host, _domain, _folder: host.topology(),
    Feature.IDLE_TIMES: lambda host, _domain, _folder: host.idle_times_ns(),
    Feature.UPTIME: lambda host, _domain, _folder: host.uptimes(),
    Feature.ORPHANS: lambda host, _domain, _folder: host.orphans(),
    Feature.DEFINE: lambda host, _domain, _folder: host.defined(),
    Feature.CHECK_CREATE: lambda host, _domain, _folder: host.check_create(DomainConfig("web2")),
    Feature.POOL: lambda host, _domain, _folder: host.pool(DomainConfig("web2")),
    Feature.CLONE: lambda host, _domain, folder: host.clone(f"{folder}/save"),
    Feature.PAUSE: lambda _host, domain, _folder: domain.pause(),
    Feature.REBOOT: lambda _host, domain, _folder: domain.reboot(),
    Feature.REBOOT_FALLBACK: lambda _host, domain, _folder: domain.reboot(fallback=True),
    Feature.SUSPEND: lambda _host, domain, _folder: domain.suspend(),
    Feature.OTHER_CONFIG: lambda _host, domain, folder: domain.save(f"{folder}/save", config=DomainConfig("web2")),
    Feature.SAVE: lambda _host, domain, folder: domain.save(f"{folder}/save"),
    Feature.SAVE_OVER: lambda _host, domain, _folder: domain.save(2),
    Feature.CORE_DUMP: lambda _host, domain, folder: domain.core_dump(f"{folder}/core"),
    Feature.MIGRATE: lambda _host, domain, _folder: domain.migrate("root@host2"),
    Feature.MIGRATE_OVER: lambda _host, domain, _folder: domain.migrate_over(0, 1),
    Feature.REMUS: lambda _host, domain, _folder: domain.remus("root@host2"),
    Feature.RENAME: lambda _host, domain, _folder: domain.rename("other"),
    Feature.PRESERVE: lambda _host, domain, _folder: domain.preserve("-old"),
    Feature.TRIGGER: lambda _host, domain, _folder: domain.send_trigger("nmi"),
    Feature.SYSRQ: lambda _host, domain, _folder: domain.send_sysrq("s"),
    Feature.MONITOR: lambda _host, domain, _folder: domain.monitor_command("info status"),
    Feature.QMP: lambda _host, domain, _folder: domain.qmp.execute("query-status"),
    Feature.ATTACH: lambda _host, domain, _folder: domain.attach(Disk("/dev/null", vdev="xvdz")),
    Feature.LIVE_DEVICES: lambda _host, domain, _folder: domain.disks.list(),
    Feature.CDROM: lambda _host, domain, _folder: domain.eject_cdrom("hdc"),
    Feature.AUTOBALLOON: lambda host, domain, _folder: host.create(domain.config(), autoballoon=True),
    Feature.MEMORY: lambda _host, domain, _folder: domain.set_memory(8),
    Feature.MEMORY_INFO: lambda _host, domain, _folder: domain.memory(),
    Feature.MAXMEM: lambda _host, domain, _folder: domain.set_maxmem(8),
    Feature.VCPUS: lambda _host, domain, _folder: domain.set_vcpus(1),
    Feature.PIN: lambda _host, domain, _folder: domain.pin_vcpu(0, CpuSet("0")),
    Feature.PIN_SOFT: lambda _host, domain, _folder: domain.pin_vcpu(0, cpus_soft="0"),
    Feature.PIN_FORCE: lambda _host, domain, _folder: domain.pin_vcpu(0, "0", force=True),
    Feature.VCPU_INFO: lambda _host, domain, _folder: domain.vcpus(),
    Feature.NODE_AFFINITY: lambda _host, domain, _folder: domain.node_affinity(),
    Feature.SET_NODE_AFFINITY: lambda _host, domain, _folder: domain.set_node_affinity([0]),
    Feature.VCPU_SCHEDULER: lambda _host, domain, _folder: domain.scheduler(vcpu=0),
    Feature.CPUPOOLS: lambda host, _domain, _folder: host.cpupools.list(),
    Feature.HOST_DEVICES: lambda host, _domain, _folder: host.usb.list(),
    Feature.ASSIGNABLE: lambda host, _domain, _folder: host.pci.assignable_add("ff:1f.7"),
    Feature.LIBVIRT: lambda host, _domain, _folder: host.libvirt.capabilities(),
    Feature.SCHEDULER: lambda _host, domain, _folder: domain.set_scheduler(Scheduler(weight=256)),
    Feature.STATS: lambda _host, domain, _folder: domain.stats(),
    Feature.CONSOLE: lambda _host, domain, _folder: domain.console().close(),
    Feature.CONSOLE_LOG: lambda _host, domain, _folder: domain.console_log(),
    Feature.ENDPOINTS: lambda _host, domain, _folder: domain.endpoints(),
    Feature.SOFT_RESET: lambda _host, domain, _folder: domain.soft_reset(),
    Feature.USERDATA: lambda _host, domain, _folder: domain.userdata("key"),
    Feature.UPDATE_CONFIG: lambda _host, domain, _folder: domain.update_config(None),
    Feature.DEVD: lambda host, _domain, _folder: host.devd(),
    Feature.XENSTORE: lambda host, _domain, _folder: host.xenstore.read("/local/domain/0/name"),
    Feature.ADD_CONSOLE: lambda _host, domain, _folder: domain.add_console(),
    Feature.LOG: lambda host, _domain, _folder: host.log(),
    Feature.DEBUG_KEYS: lambda host, _domain, _folder: host.debug_keys("h"),
    Feature.PARAMETERS: lambda host, _domain, _folder: host.set_parameters("loglvl=all"),
    Feature.HYPFS: lambda host, _domain, _folder: host.hypfs.list(),
    Feature.FLASK: lambda host, _domain, _folder: host.flask.enforcing(),
    Feature.PSR: lambda host, _domain, _folder: host.psr.monitoring(),
    Feature.DEVICE_TREE: lambda host, domain, _folder: host.device_tree.attach(domain, b"overlay"),
}
"""A call that needs a feature."""

ALSO = {
    Feature.OTHER_CONFIG: Feature.SAVE,
    Feature.REBOOT_FALLBACK: Feature.REBOOT,
    Feature.PIN_SOFT: Feature.PIN,
    Feature.PIN_FORCE: Feature.PIN,
}
"""What such a call needs besides."""

NO_CALL = {Feature.ALL_DOMAINS, Feature.FALLBACK, Feature.CHECKPOINT}
"""Those that are no verb, or only part of one."""


def test_every_feature_is_known_here() -> None:
    assert CALLS.keys() | NO_CALL == set(Feature)
    assert set(features()) == {feature.value for feature in Feature}


def release(version: str) -> tuple[int, ...]:
    """Return major and minor number of a version of Xen."""
    return tuple(map(int, version.split(".")[:2]))


def test_the_table_is_right(host: Host) -> None:
    lacks = {feature.value for feature in Feature if not host.supports(feature)}
    said = table()["backend"][backend_of(host)]
    later = {name for name, since in said.get("since", {}).items() if release(host.info().xen_version) < release(since)}
    here = said.get("on_arm", []) if host.info().machine in {"aarch64", "armv7l"} else []
    assert {*said["lacks"], *later} - {*here} == lacks


@pytest.mark.parametrize("feature", CALLS)
def test_what_cannot_be_done_is_said(host: Host, make: Make, feature: Feature, folder: str) -> None:
    if host.supports(feature):
        return  # then its own tests tell
    domain = make("web1")
    with supporting(host, feature, ALSO.get(feature, feature)):
        CALLS[feature](host, domain, folder)


def test_who_cannot_send_cannot_receive(host: Host) -> None:
    if not host.supports(Feature.MIGRATE_OVER):
        with supporting(host, Feature.MIGRATE_OVER):
            host.receive_migration(0, 1)


def test_keeping_needs_a_manager(host: Host, config: Make) -> None:
    if host.supports(Feature.DEFINE):
        return
    for call in (
        lambda: host.define(config("web1")),
        lambda: host.undefine(uuid.uuid4()),
        lambda: host.start("web1"),
        lambda: host.set_autostart("web1", True),
    ):
        with pytest.raises(pyxen.UnsupportedFeature, match="define"):
            call()
