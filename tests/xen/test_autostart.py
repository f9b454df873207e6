"""Domains that start and stop with their host, on real Xen: what is saved here, xendomains restores, and vice versa."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import Host, xlcfg
from pyxen.autostart import XendomainsSettings, start_all, stop_all
from pyxen.xendomains import FILES
from tests.xen.support import MakeConfig, ready, xl_domids

SETTINGS = Path(FILES[0])


@pytest.fixture
def settings(tmp_path: Path) -> XendomainsSettings:
    (tmp_path / "auto").mkdir()
    return XendomainsSettings(
        auto=str(tmp_path / "auto"), save=str(tmp_path / "save"), create_delay_s=0, stop_timeout_s=300
    )


@pytest.fixture
def _script(settings: XendomainsSettings) -> Iterator[None]:
    """Give the script the same settings."""
    before = SETTINGS.read_text()
    SETTINGS.write_text(
        f"XENDOMAINS_AUTO={settings.auto}\nXENDOMAINS_SAVE={settings.save}\nXENDOMAINS_RESTORE=true\n"
        "XENDOMAINS_AUTO_ONLY=true\nXENDOMAINS_CREATE_USLEEP=0\nXENDOMAINS_STOP_MAXWAIT=300\n"
    )
    yield
    xendomains("stop")  # it keeps a lock while it is "started"
    SETTINGS.write_text(before)


def xendomains(verb: str) -> None:
    """Run the script."""
    script = next(Path("/usr/lib").glob("xen-*/bin/xendomains"))
    subprocess.run([str(script), verb], check=True, timeout=600, stdin=subprocess.DEVNULL)


def test_the_hosts_own_settings() -> None:
    found = XendomainsSettings.load(on_loss="raise")
    assert (found.auto, found.save, found.stop_timeout_s) == ("/etc/xen/auto", "/var/lib/xen/save", 300)


@pytest.mark.usefixtures("_script")
def test_a_domain_comes_and_goes(host: Host, tiny: MakeConfig, settings: XendomainsSettings) -> None:
    config = tiny("pv", name="web", memory=4, cmdline="willing")
    Path(settings.auto or "", "web.cfg").write_text(xlcfg.dumps(config))
    (started,) = start_all(host, settings)
    assert (started.action, started.name) == ("created", config.name)
    ready(host.domains[config.name])
    (stopped,) = stop_all(host, settings)
    assert (stopped.action, stopped.errors) == ("saved", ())
    assert config.name not in xl_domids()

    xendomains("start")  # restores what pyxen has saved
    assert config.name in xl_domids()
    assert not Path(stopped.path or "").exists()
    ready(host.domains[config.name])
    xendomains("stop")
    assert config.name not in xl_domids()
    assert Path(stopped.path or "").exists()

    done = start_all(host, settings)  # restores what xendomains has saved
    assert [one.action for one in done] == ["restored", "running"]
    ready(host.domains[config.name])
    (stopped,) = stop_all(host, XendomainsSettings(auto=settings.auto, save=None, stop_timeout_s=300))
    assert (stopped.action, stopped.errors) == ("shut_down", ())
    assert config.name not in xl_domids()
