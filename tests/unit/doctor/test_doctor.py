"""What the doctor finds on pretended hosts, on this machine, and on odd ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pyxen
from pyxen.cli.app import app
from pyxen.doctor import Report, Severity, examination, examine
from tests.unit.doctor.conftest import GRUB, GRUB_XEN, HEALTHY, Pretended


def serious(report: Report) -> dict[str, Severity]:
    return {each.id: each.severity for each in report.problems}


def test_a_healthy_dom0(pretended: Pretended) -> None:
    report = pretended.examine()
    assert [each for each in report.findings if each.severity not in (Severity.OK, Severity.NOTE)] == []
    assert report.healthy
    assert report["xen"].found == "Xen 4.20.0 runs."
    assert report["xenstored"].found == "xenstored answers, as oxenstored."
    assert report["bridges"].found == "There are bridges: xenbr0 (eth0)."
    assert "dom0_mem=" in report["dom0-memory"].found
    ids = [each.id for each in report.findings]
    assert len(ids) == len(set(ids))
    assert {"dom0", "privileges", "devices", "extension", "tools", "xenconsoled", "hvm", "hap", "memory"} <= set(ids)
    assert {"device-model", "pygrub", "hvmloader", "seabios", "ovmf", "grub-pvh", "grub-pv", "grub", "space"} <= set(
        ids
    )
    assert report.works[0].startswith("domains of this host")
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["findings"][0] == {"id": "xen", "severity": "ok", "found": "Xen 4.20.0 runs.", "remedy": None}


WANTS = "/etc/systemd/system/multi-user.target.wants"


@pytest.mark.parametrize(
    ("change", "about", "severity", "found", "remedy"),
    [
        ({"/proc/xen/capabilities": "\n"}, "dom0", "error", "not its control domain", "dom0"),
        ({"/proc/xen/capabilities": None}, "dom0", "warning", "/proc/xen is not mounted", "mount -t xenfs"),
        ({"/dev/xen/evtchn": None}, "devices", "error", "/dev/xen/evtchn", "modprobe -a xen-evtchn"),
        ({"/dev/xen/gntdev": None}, "devices", "warning", "qdisk", "modprobe -a xen-gntdev"),
        ({"/proc/78/comm": None}, "xenconsoled", "error", "does not run", "systemctl start xen"),
        ({"/sys/hypervisor/version/minor": "19\n"}, "extension", "error", "Xen 4.19 runs", "PYXEN_XENLIGHT=require"),
        ({"/sys/hypervisor/version/minor": "19\n"}, "tools", "error", "those of Xen 4.20", "xen-utils-4.19"),
        ({"/usr/libexec/xen-qemu-system-i386": None}, "device-model", "warning", "HVM guests", "qemu-system-xen"),
        ({"/usr/lib/xen-4.20/boot/hvmloader": None}, "hvmloader", "warning", "HVM", "apt install xen-utils-4.20"),
        ({"/usr/share/OVMF/OVMF_CODE_4M.fd": None}, "ovmf", "note", "ovmf", "apt install ovmf"),
        ({"/sys/class/net/xenbr0/bridge/bridge_id": None, "/sys/class/net/xenbr0/bridge": None}, "bridges", "warning",
         "no bridge", "    iface xenbr0 inet dhcp\n        bridge_ports eth0"),
        ({"/etc/xen/xl.conf": 'vif.default.bridge="br7"\n'}, "default-bridge", "warning", "br7", "auto br7"),
        ({"/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n"}, "bridge-filter", "note", "firewall", "sysctl"),
        ({"/proc/90/comm": "python2.7\n", "/proc/90/cmdline": "python2.7\0/usr/sbin/xend\0start\0"}, "xend", "error",
         "pid 90", "TOOLSTACK=xl"),
        ({"/etc/xen/xend-config.sxp": "(xend-port 8000)\n"}, "xend", "note", "file of xend", "xl.conf"),
        ({"/proc/91/comm": "libvirtd\n"}, "libvirt", "note", "pid 91", "xen:///system"),
        ({"/etc/xen/auto/web1.cfg": 'name = "web1"\n'}, "xendomains", "warning", "neither xendomains nor",
         "systemctl enable"),
        ({"/etc/xen/auto/web1.cfg": 'name = "web1"\n', f"{WANTS}/pyxen-autostart.service": ""}, "xendomains", "ok",
         "pyxen-autostart starts and stops guests with the host; configurations in /etc/xen/auto: 1", None),
        ({f"{WANTS}/pyxen-autostart.service": "", "/etc/rc2.d/S04xendomains": ""}, "xendomains", "warning",
         "both start with the host", "systemctl disable xendomains"),
        ({"/etc/xen/old.cfg": "import os\nname = 'a'\n"}, "xm-files", "warning", "/etc/xen/old.cfg", "pyxen lint"),
        ({"/etc/xen/old.cfg": 'name = "a"\nbuilder = "hvm"\n'}, "xm-files", "note", "/etc/xen/old.cfg", "pyxen lint"),
        ({"/etc/xen/new.cfg": 'name = "a"\ntype = "pvh"\nkernel = "/k"\n'}, "xm-files", "ok",
         "all configurations in /etc/xen (1)", None),
        ({"/var/lib/xen/save/.keep": None, "/var/lib/xen/save": None, "/var/lib/xen": None}, "space", "warning",
         "missing", "mkdir"),
        ({"/usr/bin/qemu-img": None}, "qemu-img", "note", "qcow2", "qemu-utils"),
        ({"/usr/sbin/vgs": "#!/bin/sh\necho '  /run/lock/lvm: Permission denied' >&2; exit 5\n"}, "volume-groups",
         "note", "Permission denied", "root"),
        ({"/usr/sbin/vgs": "#!/bin/sh\necho nonsense\n"}, "volume-groups", "warning", "does not answer", None),
    ],
)  # fmt: skip
def test_what_is_wrong(
    pretended: Pretended, change: dict[str, str | None], about: str, severity: str, found: str, remedy: str | None
) -> None:
    for path, text in change.items():
        pretended.remove(path) if text is None else pretended.write(path, text)
    finding = pretended.examine()[about]
    assert (finding.severity, found in finding.found) == (severity, True), finding
    assert finding.remedy is None if remedy is None else remedy in (finding.remedy or "")


def test_a_user_without_rights(pretended: Pretended) -> None:
    pretended.privileged = False
    report = pretended.examine()
    assert report["privileges"].severity is Severity.ERROR
    assert report["privileges"].remedy == "Run this as root."
    assert "memory" not in report
    assert not report.works[0].startswith("domains of this host")


def test_a_xenstored_that_does_not_run(pretended: Pretended) -> None:
    pretended.xenstored.close()
    pretended.remove("/dev/xen/xenbus")
    assert serious(pretended.examine()) == {"xenstored": Severity.ERROR}


def test_a_dom0_that_was_not_initialised(pretended: Pretended) -> None:
    pretended.xenstored.remove("/local/domain/0/name")
    assert serious(pretended.examine()) == {"init-dom0": Severity.ERROR}


def test_a_machine_without_xen(pretended: Pretended) -> None:
    pretended.without_xen()
    pretended.write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vmx ept sse2\n")
    pretended.write("/sys/firmware/acpi/tables/DMAR", "")
    report = pretended.examine()
    assert serious(report) == {"xen": Severity.ERROR}
    assert report["xen"].remedy is not None
    assert "/boot/xen-4.20-amd64.gz is installed" in report["xen"].remedy
    assert [report[one].severity for one in ("hvm", "hap", "iommu", "grub")] == [Severity.OK] * 4
    assert "Reboot, and Xen runs." in report["grub"].found
    assert any("memory:///" in each for each in report.works)


def test_xen_that_does_not_answer(pretended: Pretended) -> None:
    pretended.uri = "nosuch:///"
    report = pretended.examine()
    assert serious(report) == {"host": Severity.ERROR}
    assert "nosuch:///" in report["host"].found


WANTED = 'GRUB_DEFAULT="Debian GNU/Linux, with Xen hypervisor"'
OVERRIDDEN = (
    "/etc/default/grub.d/xen.cfg, line 2: change XEN_OVERRIDE_GRUB_DEFAULT=0 to XEN_OVERRIDE_GRUB_DEFAULT=1, "
    "then update-grub"
)
OVERRIDE = "# comment\n#XEN_OVERRIDE_GRUB_DEFAULT=\nif true; then\n\tXEN_OVERRIDE_GRUB_DEFAULT=1\nfi\n"


@pytest.mark.parametrize(
    ("default", "files", "severity", "remedy"),
    [
        ("0", {"/etc/default/grub": "GRUB_TIMEOUT=5\nGRUB_DEFAULT=0\n"}, "warning",
         f"/etc/default/grub, line 2: change GRUB_DEFAULT=0 to {WANTED}, then update-grub"),
        ("0", {"/etc/default/grub.d/xen.cfg": "A=1\nXEN_OVERRIDE_GRUB_DEFAULT=0\n"}, "warning", OVERRIDDEN),
        ("0", {"/etc/default/grub.d/xen.cfg": OVERRIDE}, "warning",
         "/etc/default/grub.d/xen.cfg asks for Xen already, and the menu is older, then update-grub"),
        ("1>0", {}, "warning", f"/etc/default/grub: write {WANTED}, then update-grub"),
        ("gone", {}, "warning", f"/etc/default/grub: write {WANTED}, then update-grub"),
        ("2", {}, "ok", None),
        ("xen-gnulinux-simple-1f", {}, "ok", None),
        ("3>0>It's Xen", {}, "ok", None),
        ("3", {}, "ok", None),
        ("${saved_entry}", {"/boot/grub/grubenv": "# GRUB Environment Block\nsaved_entry=2\n####"}, "ok", None),
        ("2", {"/boot/grub/grubenv": "next_entry=0\n"}, "note", "grub-editenv - unset next_entry takes that back."),
    ],
)  # fmt: skip
def test_what_grub_boots(
    pretended: Pretended, default: str, files: dict[str, str], severity: str, remedy: str | None
) -> None:
    pretended.write("/boot/grub/grub.cfg", GRUB.replace("DEFAULT", default) + GRUB_XEN)
    for path, text in files.items():
        pretended.write(path, text)
    finding = pretended.examine()["grub"]
    assert (finding.severity, finding.remedy) == (severity, remedy), finding


def test_a_menu_without_xen(pretended: Pretended) -> None:
    pretended.write("/boot/grub/grub.cfg", GRUB.replace("DEFAULT", "0"))
    finding = pretended.examine()["grub"]
    assert (finding.severity, finding.found) == (Severity.WARNING, "GRUB's menu has no entry for Xen.")


def test_a_host_of_another_make(pretended: Pretended) -> None:
    """Files that are folders, pipes, or no text; a menu that is cut; links that lead nowhere, or in a circle."""
    for path in ("/proc/77/comm", "/etc/xen/xl.conf", "/sys/class/net/xenbr0/brif/eth0/port_no"):
        pretended.remove(path)
        (pretended.root / path[1:]).mkdir()
    pretended.remove("/proc/78/comm")
    os.mkfifo(pretended.root / "proc/78/comm")
    (pretended.root / "boot/grub/grub.cfg").write_bytes(b"menuentry 'cut { \xff\0\n submenu x {\n}\n}\n}\n")
    (pretended.root / "boot/grub/grubenv").symlink_to("grubenv")
    (pretended.root / "proc/79").mkdir()
    report = pretended.examine()
    assert "xenconsoled" in serious(report)
    assert "fault of pyxen" not in str(report)


def test_a_program_that_hangs(pretended: Pretended) -> None:
    pretended.write("/usr/sbin/vgs", "#!/bin/sh\nexec sleep 1000\n")
    finding = examine(pretended.surroundings(timeout=0.1))["volume-groups"]
    assert (finding.severity, "has not ended after 0.1 s" in finding.found) == (Severity.WARNING, True)


def test_a_probe_that_hangs() -> None:
    ended = threading.Event()
    try:
        assert examination._within(0.01, [ended.wait]) == [None]
    finally:
        ended.set()


def test_a_subject_that_fails(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_around: object, _facts: object) -> None:
        message = "odd"
        raise RuntimeError(message)

    monkeypatch.setattr(examination, "_SECOND", (broken,))
    finding = pretended.examine()["broken"]
    assert (finding.severity, finding.found) == (
        Severity.WARNING,
        "The examination of broken failed: RuntimeError: odd",
    )


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_that_is_not_valid(timeout: float) -> None:
    with pytest.raises(pyxen.InvalidArgument, match=r"timeout=.*: give|timeout=0 is out of range"):
        examine(timeout=timeout)


def test_an_unprivileged_user_on_this_machine() -> None:
    program = (
        "import json, os, sys, pyxen.doctor; pyxen.doctor.examine(); os.getuid() or os.setuid(65534);"
        "report = pyxen.doctor.examine(); json.dump(report.to_dict(), sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    findings = json.loads(done.stdout)["findings"]
    assert "fault of pyxen" not in done.stdout
    assert {"xen", "extension", "bridges"} <= {each["id"] for each in findings}
    assert all(each["remedy"] for each in findings if each["severity"] in ("error", "warning"))


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["healthy"] else 1)
    for_people = CliRunner().invoke(app, ["doctor"])
    assert for_people.exit_code == result.exit_code
    assert all(each["found"] in for_people.stdout for each in found["findings"] if each["id"] != "space")


def test_the_pretended_host_is_not_this_one(tmp_path: Path) -> None:
    """Where the folder is empty, nothing of this machine is seen."""
    report = examine(pyxen.doctor.Surroundings(tmp_path, releases=()))
    assert {each.id: each.found for each in report.findings if each.severity is Severity.OK} == {}
    assert len(HEALTHY) > len(report.findings)
