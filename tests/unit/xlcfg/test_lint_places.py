"""Where `lint` points, and that it says each thing once."""

from __future__ import annotations

import pytest

from pyxen import xlcfg
from pyxen.xlcfg.keys import KEYS

HVM = 'name = "a"\ntype = "hvm"\nmemory = 512\nvcpus = 2\n'
PV = 'name = "a"\ntype = "pv"\nkernel = "/k"\nmemory = 512\nvcpus = 2\n'
PVH = PV.replace('"pv"', '"pvh"')


def test_each_problem_of_a_disk_points_at_its_disk() -> None:
    text = (
        PV + "disk = [ '/a,raw,xvda,w',\n  '/b,raw,xvda,w' ]\n"
        "disk += [ '/c,raw,foo,w',\n  ',raw,xvdc,w' ]\nvif = [ 'mac=00:16:3e:00:00:01', 'mac=00:16:3e:00:00:01' ]\n"
    )
    assert [(one.line, one.column, one.message.partition(":")[0]) for one in xlcfg.lint(text)] == [
        (7, 3, "disk[1]"),
        (8, 11, "disk[2]"),
        (9, 3, "disk[3]"),
        (10, 34, "vif[1]"),
    ]
    messages = " ".join(one.message for one in xlcfg.lint(text))
    assert "disk[0]" in messages
    assert "disks[" not in messages


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (HVM + "spice = 1\nspicepasswd = 'x'\nvga = 'qxl'\n", 5),  # no port: nothing but spice says so
        (HVM + "sdl = 1\nfirmware = 'rombios'\nvga = 'qxl'\n", 6),
        (HVM + "stdvga = 1\nvideoram = 8\nsdl = 1\n", 6),
        (HVM + "memory = 512\nmaxmem = 100\n", 6),
        (PV + "stubdomain_memory = 5\n", 6),
    ],
)
def test_what_is_said_by_another_key_points_there(text: str, line: int) -> None:
    assert [one.line for one in xlcfg.lint(text) if one.severity == "warning" and one.code != "repeated-key"] == [line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HVM + "kernel = '/usr/lib/xen/boot/hvmloader'\n", [("note", "outdated-value")]),
        (HVM + "bootloader = 'pygrub'\n", [("warning", "other-guest")]),
        (HVM + "bootloader = 'pygrub'\nbootloader_args = '-q'\n", [("warning", "other-guest")] * 2),
        (PVH + "llc_colors = [ '0-3' ]\n", []),
        (PV + "device_model_stubdomain_override = 1\n", [("warning", "other-guest")]),
        (PVH + "opengl = 1\n", [("warning", "other-guest")]),
        (PV + "timer_mode = 1\n", [("error", "refused")]),
        (PV + "cmdline = 'x'\nroot = '/r'\nextra = ''\n", [("warning", "ignored-value"), ("note", "outdated-key")]),
        (HVM + "builder = 'generic'\n", [("error", "refused")]),
        (
            HVM + "device_model_override = '/q'\ndevice_model_stubdomain_override = 1\n",
            [("warning", "no-model-version")],
        ),
        (HVM + "altp2mhvm = 'x'\n", [("warning", "ignored-value")]),
        (PV + "vnc = 'x'\n", [("warning", "ignored-value")]),
        (HVM + "usbdev = [ 'bogus' ]\n", [("error", "refused")]),
        (HVM + "disk = [ 'file:/a.iso,hdc:cdrom,r' ]\n", [("note", "outdated-disk")]),
        (HVM + "disk = [ '/a,raw,/dev/xvda,w' ]\n", [("warning", "problem")]),
        (HVM + "vfb = [ 'type=vnc,vncpasswd=x' ]\n", [("warning", "other-guest")]),
    ],
)
def test_nothing_is_said_twice(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.severity, one.code) for one in xlcfg.lint(text)] == expected


@pytest.mark.parametrize("head", [HVM, PV, PVH], ids=["hvm", "pv", "pvh"])
def test_a_key_of_another_guest_has_one_finding(head: str) -> None:
    lines = head.count("\n")
    for key in KEYS:
        for value in ("1", "'x'", "[ 'x' ]", "[ 'a=1' ]", "''"):
            found = [one for one in xlcfg.lint(f"{head}{key} = {value}\n") if one.line > lines]
            if any(one.code == "other-guest" for one in found):
                assert len(found) == 1, (key, value, found)


@pytest.mark.parametrize(
    "disk",
    ["file:/a,0x0,w", "file:/a,0xca00,w", "file:/a,51712,w", "file:/a,0146000,w", "/a,raw,d0p1,w", "/a,raw,xvdzz,w"],
)
def test_names_of_disks_as_libxl_takes_them(disk: str) -> None:
    assert not [one for one in xlcfg.lint(f"{PV}disk = [ '{disk}' ]\n") if one.severity != "note"]


@pytest.mark.parametrize(
    ("disk", "hint"),
    [
        ("/a.qcow2,,xvda,w", "write format=qcow2 if it is"),
        ("/A.QCOW2,raw,xvda,w", "write format=qcow2 if it is"),
        ("/a.vhd,,xvda,w", "write format=vhd if it is"),
        ("/a.vmdk,,xvda,w", "xl cannot read that format; qemu-img converts it to qcow2"),
        ("file:/dev/vm/a.qcow2,xvda,w", "write format=qcow2 if it is"),
        ("/a.img,qcow2,xvda,w", None),
        ("/a.iso,,hdc,cdrom", None),
    ],
)
def test_a_format_by_its_name(disk: str, hint: str | None) -> None:
    found = xlcfg.lint(f"{HVM}disk = [ '{disk}' ]\n")
    assert [(one.code, one.hint) for one in found if one.code != "outdated-disk"] == (
        [] if hint is None else [("disk-format", hint)]
    )


@pytest.mark.parametrize(
    ("lines", "warned"),
    [
        ("videoram = 7", True),
        ("videoram = 8", False),
        ("videoram = 7\nvga = 'cirrus'", True),
        ("videoram = 15\nvga = 'stdvga'", True),
        ("videoram = 16\nvga = 'stdvga'", False),
        ("videoram = 15\nstdvga = 1", True),
        ("videoram = 4\nvga = 'none'", False),
        ("videoram = 4\nvga = 'cirrus'\ndevice_model_version = 'qemu-xen-traditional'", False),
    ],
)
def test_video_memory(lines: str, warned: bool) -> None:
    assert any(one.code == "problem" for one in xlcfg.lint(f"{HVM}{lines}\n")) is warned


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("memory = '2g'", "write memory = 2048"),
        ("maxmem = '512 MiB'", "write maxmem = 512"),
        ("videoram = '16M'", "write videoram = 16"),
        ("hap = 'disabled'", "write 1 or 0"),
        ("timer = 'on'", ""),
    ],
)
def test_what_to_write_for_words(text: str, hint: str) -> None:
    head = HVM.replace("memory = 512\n", "") if "memory" in text else HVM
    assert hint in [one.hint for one in xlcfg.lint(f"{head}{text}\n") if one.code != "no-memory"]
