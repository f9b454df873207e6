"""What a host tells, against what xl tells."""

from __future__ import annotations

from pathlib import Path

from pyxen import DomainState, Host, HostCapability
from tests.xen.support import MakeConfig, xl, xl_domids


def told_by_xl() -> dict[str, str]:
    """Return what ``xl info`` prints, by its own names."""
    lines = [line.partition(":") for line in xl("info").splitlines()]
    return {name.strip(): value.strip() for name, _, value in lines}


def in_hex(words: tuple[int, ...] | None) -> str:
    return ":".join(f"{word:08x}" for word in words or ())


def test_info_agrees_with_xl(host: Host) -> None:
    """Every line of xl is compared, so that one which a new release adds is noticed."""
    told = told_by_xl()
    info = host.info()
    major, minor, extra = info.xen_version_info
    for free in (int(told.pop("free_memory")),):  # the only figure that may change in between
        assert abs(info.free_memory_kib // 1024 - free) <= 1
    assert told == {
        "host": info.hostname,
        "release": info.kernel_release,
        "version": info.kernel_version,
        "machine": info.machine,
        "nr_cpus": str(info.nr_cpus),
        "max_cpu_id": str(info.max_cpu_id),
        "nr_nodes": str(info.nr_nodes),
        "cores_per_socket": str(info.cores_per_socket),
        "threads_per_core": str(info.threads_per_core),
        "cpu_mhz": f"{info.cpu_khz / 1000:.3f}",
        "hw_caps": in_hex(info.hw_caps),
        "virt_caps": " ".join(one for one in HostCapability if one in (info.capabilities or ())),
        "total_memory": str(info.memory_kib // 1024),
        "sharing_freed_memory": str((info.sharing_freed_kib or 0) // 1024),
        "sharing_used_memory": str((info.sharing_used_kib or 0) // 1024),
        "outstanding_claims": str((info.claimed_memory_kib or 0) // 1024),
        "free_cpus": str(info.free_cpus),
        "xen_major": str(major),
        "xen_minor": str(minor),
        "xen_extra": extra,
        "xen_version": info.xen_version,
        "xen_caps": " ".join(info.xen_caps or ()),
        "xen_scheduler": info.xen_scheduler,
        "xen_pagesize": str(info.xen_pagesize),
        "platform_params": f"virt_start={info.virt_start:#x}",
        "xen_changeset": info.xen_changeset,
        "xen_commandline": info.xen_commandline,
        "cc_compiler": info.cc_compiler,
        "cc_compile_by": info.cc_compile_by,
        "cc_compile_domain": info.cc_compile_domain,
        "cc_compile_date": info.cc_compile_date,
        "build_id": info.build_id,
        "xend_config_format": "4",  # of a toolstack that is gone; xl prints this number always
    }


def test_a_host_is_as_old_as_its_dom0(host: Host) -> None:
    uptime = host.info().uptime_s
    assert uptime is not None
    said = float(Path("/proc/uptime").read_text().split()[0])
    assert uptime <= said + 0.01
    assert said - uptime < 60


def test_uptimes_agree_with_xl(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny(name="tiny"), paused=True)
    try:
        told = {words[0]: words[-1] for words in map(str.split, xl("uptime").splitlines()[1:])}
        uptimes = {str(uptime.name): uptime.uptime_s for uptime in host.uptimes()}
        assert list(told) == list(uptimes)
        for name, seconds in uptimes.items():
            assert seconds is not None
            hours, minutes, rest = map(int, told[name].split(":"))
            assert abs(3600 * hours + 60 * minutes + rest - seconds) < 10  # both are asked one after the other
    finally:
        domain.destroy()


def test_claims_agree_with_xl(host: Host) -> None:
    told = {line.split()[0]: line.split()[-1] for line in xl("claims").splitlines()[1:]}
    assert told == {info.name: str((info.claimed_kib or 0) // 1024) for info in host.list()}


def test_dom0(host: Host) -> None:
    dom0 = host.list()[0]
    assert (dom0.domid, dom0.name, dom0.uuid.int) == (0, "Domain-0", 0)
    assert dom0.state in {DomainState.RUNNING, DomainState.BLOCKED}
    assert dom0.shutdown_reason is None
    assert dom0.type == "pv"
    count = len(xl("vcpu-list", "0").splitlines()) - 1
    assert dom0.vcpus == dom0.maxvcpus == count
    assert dom0.cpu_time_ns > 0


def test_list_agrees_with_xl(host: Host, tiny: MakeConfig) -> None:
    made = [host.create(tiny(name=f"tiny{number}", vcpus=number), paused=True) for number in (1, 2)]
    try:
        lines = [line.split() for line in xl("list").splitlines()[1:]]
        infos = host.list()
        assert [(info.name, info.domid, info.vcpus) for info in infos] == [(w[0], int(w[1]), int(w[3])) for w in lines]
        assert [info.memory_kib // 1024 for info in infos[1:]] == [int(words[2]) for words in lines[1:]]
        assert [info.uuid for info in infos[1:]] == [domain.uuid for domain in made]
        assert {info.name: info.domid for info in infos} == xl_domids()
        assert all(info.state is DomainState.PAUSED and info.type == "pvh" for info in infos[1:])
    finally:
        for domain in made:
            domain.destroy()


def test_a_name_is_never_stale(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny(name="before"), paused=True)
    try:
        for name in ("between", "after", "before"):
            assert host.list()[-1].name == host.list()[-1].name
            xl("rename", str(domain.domid), name)
            assert host.list()[-1].name == name
            assert domain.info().name == name
    finally:
        domain.destroy()


def test_what_the_kernel_offers_when_xenstored_has_no_socket() -> None:
    from pyxen.backends.xenlight.xenstore.connection import Connection

    through_kernel = Connection(sockets=())
    assert through_kernel.read("/local/domain/0/name") == "Domain-0"
    assert "0" in through_kernel.directory("/local/domain")
    assert through_kernel.read("/no/such/node") is None
    through_kernel.close()
