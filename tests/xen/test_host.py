"""What a host tells, against what xl tells."""

from __future__ import annotations

from pyxen import DomainState, Host
from tests.xen.support import MakeConfig, xl, xl_domids


def test_info_agrees_with_xl(host: Host) -> None:
    told = dict(line.split(":", 1) for line in xl("info").splitlines() if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    info = host.info()
    assert info.xen_version == told["xen_version"]
    assert info.nr_cpus == int(told["nr_cpus"])
    assert info.nr_nodes == int(told["nr_nodes"])
    assert info.cores_per_socket == int(told["cores_per_socket"])
    assert info.threads_per_core == int(told["threads_per_core"])
    assert info.cpu_khz // 1000 == int(float(told["cpu_mhz"]))
    assert info.memory_kib // 1024 == int(told["total_memory"])
    assert abs(info.free_memory_kib // 1024 - int(told["free_memory"])) <= 1


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
