"""What configurations mean: the spellings that guides teach, old and new. The proof against xl is in tests/oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyxen import xlcfg
from pyxen.config import BiosType, CpuSet, Disk, DomainConfig, DomainType, Vfb, Vif, Vnc
from pyxen.errors import ConfigError, LossyConversion, ParseError
from pyxen.losses import LossWarning

HVM = 'name = "x"\ntype = "hvm"\n'
PV = 'name = "x"\nkernel = "/k"\n'


def loads(text: str) -> DomainConfig:
    return xlcfg.loads(text, on_loss="raise")


def test_a_small_configuration() -> None:
    config = loads('name = "web1"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 512\nvcpus = 2\ncpus = "2-3"\n')
    assert config == DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=512, vcpus=2, cpus=CpuSet("2-3"))


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("memory = 0x200", "memory", 512),
        ('memory = "512"', "memory", 512),
        ('cmdline = "ro quiet"', "cmdline", "ro quiet"),
        ("localtime = 1", "localtime", True),
        ('rtc_timeoffset = "-3600"', "rtc_timeoffset", -3600),
        ('firmware = "uefi"', "bios", BiosType.OVMF),
        ('firmware = "/x/fw"', "firmware_override", "/x/fw"),
        ('usbdevice = "tablet"', "usbdevice", ("tablet",)),
        ('usbdevice = [ "tablet", "mouse" ]', "usbdevice", ("tablet", "mouse")),
        ('serial = "pty"', "serial", ("pty",)),
        ("stdvga = 1", "vga", "std"),
        ('on_crash = "coredump-restart"', "on_crash", "coredump_restart"),
        ('on_reboot = "rename-restart"', "on_reboot", "restart_rename"),
        ("tsc_mode = 2", "tsc_mode", "native"),
        ("viridian = 1", "viridian", True),
        ("gfx_passthru = 1", "gfx_passthru", True),
        ('bootloader_args = "a  b"', "bootloader_args", ("a", "b")),
    ],
)
def test_values(line: str, field: str, value: object) -> None:
    config = xlcfg.loads(f"{HVM}{line}\n", on_loss="ignore")
    assert getattr(config, field) == getattr(DomainConfig.from_dict({"name": "x", field: value}), field)


@pytest.mark.parametrize(
    ("spec", "disk"),
    [
        ("/dev/vg/x,raw,xvda,rw", Disk("/dev/vg/x", vdev="xvda")),
        ("format=qcow2, vdev=xvda, access=ro, target=/x,y", Disk("/x,y", vdev="xvda", format="qcow2", readonly=True)),
        ("phy:/dev/vg/x,xvda,w", Disk("/dev/vg/x", vdev="xvda")),
        ("file:/x.iso,hdc:cdrom,r", Disk("/x.iso", vdev="hdc", cdrom=True)),
        (",hdc:cdrom,r", Disk("", vdev="hdc", cdrom=True)),
        ("tap:aio:/x,xvda,w", Disk("/x", vdev="xvda")),
        ("tap:qcow2:/x,xvda,r", Disk("/x", vdev="xvda", format="qcow2", readonly=True)),
        ("iscsi:iqn.2001,xvda,w", Disk("iqn.2001", vdev="xvda", script="block-iscsi")),
    ],
)
def test_disks(spec: str, disk: Disk) -> None:
    assert loads(f"{HVM}disk = [ '{spec}' ]\n").disks == (disk,)


def test_vifs() -> None:
    text = HVM + "vif = [ '', 'mac=00:16:3e:00:00:01, bridge=xenbr0', 'type=ioemu,model=e1000,rate=1MB/s@20ms' ]\n"
    assert loads(text).vifs == (
        Vif(),
        Vif("xenbr0", mac="00:16:3e:00:00:01"),
        Vif(type="vif_ioemu", model="e1000", rate="1MB/s@20ms"),
    )


def test_old_spellings() -> None:
    text = 'builder="hvm"\nname="x"\nkernel="/usr/lib/xen-4.1/boot/hvmloader"\nroot="/dev/xvda1 ro"\nextra="quiet"\n'
    config = xlcfg.loads(text, on_loss="ignore")
    assert config.type is DomainType.HVM
    assert config.kernel is None
    assert config.cmdline == "root=/dev/xvda1 ro quiet"
    assert loads(PV + "vnc = 1\nvnclisten = '0.0.0.0'\nkeymap = 'de'\n").vfbs == (
        Vfb(vnc=Vnc(enable=True, listen="0.0.0.0"), keymap="de"),  # noqa: S104 (nothing listens)
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nosuchkey = 5", "does not know this key"),
        ("acpi = 'yes'", "no number"),
        ("vcpus += 2", "+="),
        ("disk = '/x,raw,xvda'", "list"),
        ("disk = [ '/x,raw,xvda', [ 'y' ] ]", "list inside it"),
        ("vif = [ 'bogus=1' ]", "bogus=1"),
        ("pvshim = 1", "PVH"),
        ("rdm = 'strategy=host,policy=strict'", "4.15"),
        ("device_model = '/x'", "ignores"),
    ],
)
def test_what_xl_passes_over_is_reported(line: str, said: str) -> None:
    text = f"{HVM}{line}\n"
    with pytest.raises(LossyConversion) as caught:
        loads(text)
    (loss,) = caught.value.losses
    assert said in f"{loss}"
    assert "line 3" in loss.path
    with pytest.warns(LossWarning):
        assert xlcfg.loads(text) == xlcfg.loads(text, on_loss="ignore")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("memory = 5\n", (2, 1), "name"),
        ('name = "x"\n', (2, 1), "kernel, or a bootloader"),
        (HVM + 'disk = [ "/x,raw,xvda",\n  "/y,raw,xvdb,bogus=1" ]\n', (4, 3), "disk[1]"),
        (HVM + 'disk = [ "a,raw,xvda" ]\ndisk += [ "b" ]\n', (4, 11), "disk[1]"),
        (HVM + "maxvcpus = 1\nvcpus = 2\n", (3, 12), "less than vcpus"),
        (HVM + "on_crash = 'explode'\n", (3, 12), "on_crash"),
        (HVM + "spiceport = 70000\n", (3, 13), "65535"),
        (HVM + "cpus = '5-2'\n", (3, 8), "backwards"),
        (HVM + "type = 'pv'\nbuilder = 'hvm'\n", (4, 11), "contradicts"),
        (HVM + "usbctrl = [ 'type=x' ]\n", (3, 13), "devicemodel"),
        (HVM + "smbios = 'oem=x'\n", (3, 10), "list"),
    ],
)
def test_what_xl_refuses_is_refused_with_its_place(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(ParseError) as caught:
        loads(text)
    assert (caught.value.line, caught.value.column) == place
    assert said in caught.value.message


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "web1.cfg"
    config = DomainConfig("w\u00e9b", type="hvm", memory=512, disks=[Disk("/x", vdev="xvda")])
    xlcfg.dump(config, path)
    assert xlcfg.load(path) == config
    path.write_text("memory = 512 MB\n")
    with pytest.raises(ParseError, match=r"web1\.cfg:1:14: "):
        xlcfg.load(path)


def test_what_is_written_is_clean() -> None:
    config = DomainConfig(
        "web1",
        type="pvh",
        kernel="/boot/vmlinuz",
        cmdline='root="x"',
        memory=512,
        disks=[Disk("/dev/vg0/web1", vdev="xvda"), Disk(vdev="xvdc", cdrom=True)],
        vifs=[Vif("xenbr0")],
    )
    assert xlcfg.dumps(config) == (
        'name = "web1"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\ncmdline = "root=\\"x\\""\nmemory = 512\n'
        'disk = [\n    "format=raw,vdev=xvda,target=/dev/vg0/web1",\n    "vdev=xvdc,devtype=cdrom",\n]\n'
        'vif = ["bridge=xenbr0"]\n'
    )


def test_what_cannot_be_written_is_reported() -> None:
    config = DomainConfig("x", type="hvm", memory=0.5, vifs=[Vif("a,b")], domid=5)
    with pytest.raises(LossyConversion) as caught:
        xlcfg.dumps(config)
    assert {loss.path for loss in caught.value.losses} == {"domid", "memory", "vifs[0].bridge"}
    with pytest.raises(LossyConversion, match="xl would refuse"):
        xlcfg.dumps(DomainConfig("x", type="pv"))


def test_secrets_stay_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(HVM + "vncpasswd = [ 'hunter2' ]\ndisk = [ 'rbd:pool/x:key=hunter2,raw,xvda,a,b,c' ]\n")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(LossyConversion) as lossy:
        loads(HVM + "vncpasswd = [ 'hunter2' ]\n")
    assert "hunter2" not in str(lossy.value)
