"""What `lint` finds: every trap that xl takes in silence."""

from __future__ import annotations

import pytest

from pyxen import xlcfg
from pyxen.xlcfg.keys import KEYS

HEAD = 'name = "x"\ntype = "hvm"\nmemory = 512\n'


def codes(text: str, xen: str = "4.20") -> set[str]:
    return {one.code for one in xlcfg.lint(text, xen)}


def test_a_clean_configuration_has_nothing() -> None:
    text = HEAD + 'disk = [ "format=raw,vdev=xvda,target=/x" ]\nvif = [ "bridge=xenbr0,rate=1MB/s@20ms" ]\n'
    assert xlcfg.lint(text) == []


@pytest.mark.parametrize(
    ("line", "column", "code", "said"),
    [
        ("memery = 5", 1, "unknown-key", "did you mean memory?"),
        ("bootargs = 'x'", 1, "unknown-key", "bootloader_args"),
        ("altp2m_count = 5", 1, "newer-key", "4.21"),
        ("xenstore_quota = [ 'nodes=5' ]", 1, "newer-key", "4.22"),
        ("maxvcpus = 010", 12, "octal", "write 10"),
        ("maxvcpus = 08", 12, "ignored-value", "no number"),
        ("acpi = 'yes'", 8, "ignored-value", "write 1 or 0"),
        ("viridian = 'all'", 12, "ignored-value", "[ 'all' ]"),
        ("disk = [ '/x,raw,xvda', [ 'b' ], '/y,raw,xvdb' ]", 25, "nested-list", "drops the rest"),
        ("vif = [ 'bogus=1' ]", 9, "ignored-value", "bogus=1"),
        ("vif = [ 'rate=010MB/s' ]", 9, "octal", "write 10"),
        ("vif = [ 'rate=1MB/s@20' ]", 9, "rate-interval", "seconds"),
        ("vif = [ 'netdev=eth0' ]", 9, "outdated-value", "gatewaydev"),
        ("pci = [ '03:00.0,seize=yes' ]", 9, "ignored-value", "write seize=1"),
        ("rdm = 'strategy=host,policy=relaxed'", 7, "ignored-value", "4.15"),
        ("usbdev = [ 'hostbus=1,hostaddr=2' ]", 12, "no-usb-type", "type=hostdev"),
        ("firmware = 'u'", 12, "abbreviated", "uefi"),
        ("tsc_mode = 2", 12, "outdated-value", "native"),
        ("timer_mode = 1", 14, "outdated-value", "no_delay_for_missed_ticks"),
        ("builder = 'hvm'", 1, "outdated-key", "type says it"),
        ("extra = 'quiet'", 1, "outdated-key", "cmdline"),
        ("stdvga = 1", 1, "outdated-key", "vga"),
        ("vncviewer = 1", 1, "outdated-key", "without effect"),
        ("device_model = '/usr/lib/xen-4.1/bin/qemu-dm'", 1, "outdated-key", "leave it out: xl ignores it"),
        ("kernel = '/usr/lib/xen/boot/hvmloader'", 10, "outdated-value", "hvmloader"),
        ("pvshim = 1", 1, "other-guest", "PVH guests have it"),
        ("cmdline = 'a\\101'", 13, "lost-escape", "drops an octal escape"),
        ("memory = 256", 1, "repeated-key", ""),
        ("disk = [ 'tap:aio:/x,xvda,w' ]", 10, "outdated-disk", "tap"),
        ("disk = [ ',hdc:cdrom,r' ]", 10, "outdated-disk", "devtype=cdrom"),
        ("maxmem = 100", 10, "problem", "maxmem"),
        ("vcpus += 5", 10, "ignored-value", "+="),
        ("cpus = 'x'", 8, "refused", "x"),
        ("usbctrl = [ 'bogus=1' ]", 13, "refused", "bogus"),
    ],
)
def test_traps(line: str, column: int, code: str, said: str) -> None:
    found = xlcfg.lint(f"{HEAD}{line}\n")
    fitting = [one for one in found if one.code == code]
    assert fitting, found
    if code == "repeated-key":
        assert (fitting[0].line, fitting[0].column) == (3, 1)
        return
    assert (fitting[0].line, fitting[0].column) == (4, column)
    assert said in fitting[0].message + fitting[0].hint


def test_what_pv_guests_boot_with() -> None:
    (found,) = xlcfg.lint("name = 'a'\nmemory = 64\nbootloader = 'pygrub'\nbootloader_args = 'a b'\n")
    assert (found.line, found.column, found.code) == (4, 19, "outdated-value")
    assert found.hint == 'write bootloader_args = ["a", "b"]'


def test_the_release_matters() -> None:
    assert "newer-key" in codes(HEAD + "hvm_pirq = 1\n", "4.18")
    assert "newer-key" not in codes(HEAD + "hvm_pirq = 1\n", "4.19.2")
    disk = HEAD + "disk = [ '/x,raw,xvda,trusted' ]\n"
    assert "newer-key" in codes(disk, "4.17")
    assert "newer-key" not in codes(disk, "4.20")
    with pytest.raises(ValueError, match="not a Xen release"):
        xlcfg.lint(HEAD, "unstable")
    with pytest.raises(ValueError, match="oldest"):
        xlcfg.lint(HEAD, "4.2")


def test_a_broken_text_has_one_error() -> None:
    found = xlcfg.lint("memory = 512 MB\n")
    assert [(one.severity, one.code, one.line, one.column) for one in found] == [("error", "syntax", 1, 14)]
    assert str(found[0]).startswith("1:14: error: ")


def test_no_memory_and_stray_characters() -> None:
    assert codes('name = "x"\ntype = "hvm"\n') == {"no-memory"}
    assert codes(HEAD + "acpi = 1 #") == {"stray-character"}


def test_the_table_of_keys_is_whole() -> None:
    assert len(KEYS) == 172
    assert [key.name for key in KEYS.values()] == sorted(KEYS)
    assert sum(key.since is not None for key in KEYS.values()) == 14
