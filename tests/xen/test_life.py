"""The life of domains, of each type, on real Xen."""

from __future__ import annotations

import subprocess
import threading

import pytest

from pyxen import Disk, DomainNotFound, DomainState, Host, ShutdownReason, Vif
from pyxen.errors import UnsupportedFeature
from tests.xen.support import MakeConfig, MakeDomain, joined, wait_until, xl, xl_domids


@pytest.mark.parametrize("guest", ["pv", "hvm"])
def test_create_pause_unpause_destroy(host: Host, tiny: MakeConfig, guest: str) -> None:
    domain = host.create(tiny(guest, name=f"a-{guest}"))
    assert xl_domids()[f"a-{guest}"] == domain.domid
    assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
    assert domain.info().type == guest
    domain.pause()
    assert domain.info().state is DomainState.PAUSED
    domain.unpause()
    assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
    domain.destroy()
    assert f"a-{guest}" not in xl_domids()


@pytest.mark.parametrize("reason", [ShutdownReason.POWEROFF, ShutdownReason.REBOOT, ShutdownReason.CRASH])
def test_how_a_guest_ends(host: Host, tiny: MakeConfig, reason: ShutdownReason) -> None:
    domain = host.create(tiny("pv", cmdline=reason.name.lower()))
    wait_until(lambda: domain.info().shutdown_reason is not None)
    info = domain.info()
    assert info.shutdown_reason is reason
    assert info.state is (DomainState.CRASHED if reason is ShutdownReason.CRASH else DomainState.SHUTDOWN)
    domain.destroy()


def test_linux_shuts_down_and_reboots(host: Host, running_linux: MakeDomain) -> None:
    domain = running_linux(on_reboot="preserve")
    domain.reboot(wait=True, timeout=120)
    assert domain.info().shutdown_reason is ShutdownReason.REBOOT
    domain.destroy()
    domain = running_linux()
    domain.shutdown(timeout=120)
    assert domain not in host.domains
    with pytest.raises(DomainNotFound):
        domain.info()


def test_shutdown_leaves_what_shall_be_preserved(willing: MakeDomain) -> None:
    domain = willing(on_poweroff="preserve")
    domain.shutdown(timeout=120)
    assert domain.info().shutdown_reason is ShutdownReason.POWEROFF
    domain.destroy()


def test_shutdown_without_waiting(willing: MakeDomain) -> None:
    domain = willing()
    domain.shutdown(wait=False, timeout=60)
    wait_until(lambda: domain.info().shutdown_reason is ShutdownReason.POWEROFF, seconds=120)
    domain.destroy()


def test_everything_of_the_configuration_arrives(
    host: Host, tiny: MakeConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = tmp_path_factory.mktemp("disks") / "data.img"
    image.write_bytes(bytes(1 << 20))
    config = tiny(
        "pvh",
        name="full",
        memory=16,
        maxmem=32,
        vcpus=2,
        maxvcpus=3,
        cmdline="ignore",
        disks=[Disk(str(image), vdev="xvda")],
        vifs=[Vif(bridge="xenbr0", mac="00:16:3e:00:00:01")],
        on_crash="preserve",
    )
    domain = host.create(config, paused=True)
    info = domain.info()
    assert info.state is DomainState.PAUSED
    assert info.maxvcpus == 3
    cpus = f"/local/domain/{domain.domid}/cpu"
    assert [_xenstore(f"{cpus}/{n}/availability") for n in range(3)] == ["online", "online", "offline"]
    assert "xvda" in _xenstore(f"/local/domain/0/backend/vbd/{domain.domid}/51712/dev")
    assert _xenstore(f"/local/domain/0/backend/vif/{domain.domid}/0/mac") == "00:16:3e:00:00:01"
    assert _xenstore(f"/local/domain/0/backend/vif/{domain.domid}/0/bridge") == "xenbr0"
    stored = xl("list", "-l", str(domain.domid))
    assert '"on_crash": "preserve"' in stored
    assert '"max_memkb": 32768' in stored
    domain.destroy()


def test_soft_reset_of_a_guest_that_cannot(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", cmdline="crash"))
    domain.wait(timeout=30)
    with pytest.raises(UnsupportedFeature, match="only HVM guests"):
        domain.soft_reset()
    domain.destroy()


def test_many_at_once(host: Host, tiny: MakeConfig) -> None:
    def live(number: int) -> None:
        host.create(tiny(name=f"many{number}")).destroy()

    threads = [threading.Thread(target=live, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread)
    assert len(host.domains) == 1


def _xenstore(path: str) -> str:
    return subprocess.run(
        ["xenstore-read", path], check=False, capture_output=True, text=True, timeout=120
    ).stdout.strip()
