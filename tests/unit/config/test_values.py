"""Value types: sets of CPUs, addresses, rates, names of disks, CPUID policies."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen.config import (
    CpuidLeaf,
    CpuidPolicy,
    CpuSet,
    Disk,
    DomainConfig,
    Mac,
    PciAddress,
    Rate,
    Viridian,
    ViridianEnlightenment,
    vdev_number,
)
from pyxen.config.enums import ActionOnShutdown, DeviceModelVersion, NicType, VgaInterfaceType
from pyxen.errors import ValidationError
from pyxen.testing import strategies
from pyxen.units import kib_to_mib, mib_to_kib


class TestCpuSet:
    @pytest.mark.parametrize(
        ("text", "cpus", "shortest"),
        [
            ("0-3,^1", (0, 2, 3), "0,2-3"),
            ("^1,0-3", (0, 1, 2, 3), "0-3"),
            ("5,5,4", (4, 5), "4-5"),
            ("", (), ""),
            (",1,,2,", (1, 2), "1-2"),
            ("007", (7,), "7"),
        ],
    )
    def test_terms_count_from_left_to_right(self, text: str, cpus: tuple[int, ...], shortest: str) -> None:
        found = CpuSet(text)
        assert (found.cpus, str(found), found.is_symbolic) == (cpus, shortest, False)
        assert found == CpuSet(cpus)
        assert hash(found) == hash(CpuSet(cpus))

    @pytest.mark.parametrize("text", ["a", "1-", "-1", "1--2", "3-1", "^all", "^^1", "1 2", "nodes:", "0x1", "32768"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"CPU|range|\^"):
            CpuSet(text)

    def test_thousands_of_wide_ranges_are_one_set(self) -> None:
        wide = ",".join(["0-32767"] * 10_000)
        assert str(CpuSet(wide)) == "0-32767"
        assert str(CpuSet(f"{wide},^5-32766")) == "0-4,32767"

    def test_eight_thousand_wide_sets_are_small(self) -> None:
        tracemalloc.start()
        try:
            sets = [CpuSet("0-32767") for _ in range(8192)]
            assert tracemalloc.get_traced_memory()[0] < 10_000_000
        finally:
            tracemalloc.stop()
        assert sets[0].cpus == tuple(range(32768))

    def test_a_million_digits_are_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="out of range"):
            CpuSet("9" * 1_000_000)

    def test_a_symbolic_set_is_resolved_on_a_host(self) -> None:
        nodes = {0: range(4), 1: range(4, 8)}
        assert CpuSet("nodes:1,^5").resolve(range(8), nodes) == CpuSet("4,6-7")
        assert CpuSet("all,^node:0").resolve(range(8), nodes) == CpuSet("4-7")
        assert CpuSet("1").resolve(range(8)) == CpuSet("1")
        assert CpuSet("all").cpus == ()
        with pytest.raises(ValueError, match="no NUMA node 2"):
            CpuSet("nodes:2").resolve(range(8), nodes)
        config = DomainConfig("a", cpus=["all", 1], cpus_soft="nodes:1")
        assert config.resolve_cpus(range(8), nodes).cpus == (CpuSet("0-7"), CpuSet("1"))
        with pytest.raises(ValidationError, match="cpus_soft: this host has no NUMA node 1"):
            config.resolve_cpus(range(8))

    @given(st.sets(st.integers(0, 300)))
    def test_its_text_means_itself(self, cpus: set[int]) -> None:
        found = CpuSet(cpus)
        assert CpuSet(found.text) == found
        assert set(found) == cpus
        assert len(found) == len(cpus)
        assert all(cpu in found for cpu in cpus)

    def test_what_is_no_number_is_no_cpu(self) -> None:
        for wrong in (["a"], [-1], [True], [1.5]):
            with pytest.raises((ValueError, TypeError)):
                CpuSet(wrong)  # type: ignore[arg-type]  # wrong on purpose


class TestMac:
    def test_spellings_of_one_address_are_equal(self) -> None:
        assert Mac("00-16-3E-A-B-C") == Mac("00:16:3e:0a:0b:0c") == "00:16:3e:0a:0b:0c"

    def test_random_ones_have_xens_prefix(self) -> None:
        found = {Mac.random() for _ in range(20)}
        assert len(found) > 1
        assert all(mac.startswith("00:16:3e:") and not mac.is_multicast for mac in found)
        assert Mac("01:00:00:00:00:00").is_multicast

    @pytest.mark.parametrize("text", ["", "00:16:3e", "00:16:3e:00:00:0g", "00:16:3e:00:00:00:00", "001:16:3e:0:0:0"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a MAC address"):
            Mac(text)


class TestPciAddress:
    def test_spellings_of_one_address_are_equal(self) -> None:
        assert PciAddress("3:0.0") == PciAddress("0000:03:00.0")
        assert str(PciAddress("ABCD:ff:1f.*")) == "abcd:ff:1f.*"
        assert PciAddress("3:0.*").function is None

    @pytest.mark.parametrize("text", ["", "3", "3:20.0", "3:0.8", "10000:3:0.0", "3:0", "3:0.0 ", "::.0", "g:0.0"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a PCI address"):
            PciAddress(text)

    @given(strategies.pci_addresses())
    def test_its_text_means_itself(self, address: PciAddress) -> None:
        assert PciAddress(str(address)) == address


class TestRate:
    @pytest.mark.parametrize(
        ("text", "numbers"),
        [
            ("10MB/s", (500_000, 50_000)),
            ("250Kb/s@20ms", (625, 20_000)),
            ("1GB/s@1", (1_000_000_000, 1_000_000)),
            ("1MB/s@20us", (20, 20)),
            ("010MB/s", (400_000, 50_000)),
            ("1B/s", (0, 50_000)),
        ],
    )
    def test_it_reads_xls_notation(self, text: str, numbers: tuple[int, int]) -> None:
        rate = Rate.parse(text)
        assert (rate.bytes_per_interval, rate.interval_usecs) == numbers

    @pytest.mark.parametrize("text", ["", "0B/s", "08B/s", "1MB", "1.5MB/s", "4294967296B/s", "1B/s@0", "1B/s@9999s"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"rate|range"):
            Rate.parse(text)

    @given(st.integers(1, 2**40), st.integers(0, 2**32 - 1))
    def test_its_text_means_itself_or_is_none(self, amount: int, usecs: int) -> None:
        rate = Rate(bytes_per_interval=amount, interval_usecs=usecs)
        assert rate.text is None or Rate.parse(rate.text) == rate

    def test_the_usual_ones_have_a_text(self) -> None:
        for text in ("10MB/s", "1GB/s", "125KB/s@20000us", "7B/s@1000000us"):
            assert Rate.parse(text).text == text


class TestVdev:
    @pytest.mark.parametrize(
        ("vdev", "number"),
        [
            ("xvda", 51712),
            ("d0p0", 51712),
            ("xvdb1", 51729),
            ("xvdq", (1 << 28) | (16 << 8)),
            ("xvdaa", (1 << 28) | (26 << 8)),
            ("hda", 768),
            ("hdb", 832),
            ("hdc", 5632),
            ("sda1", 2049),
            ("51712", 51712),
            ("hde", None),
            ("sdq", None),
            ("xvd", None),
            ("xvda01", None),
            ("xvda256", None),
            ("vda", None),
            ("", None),
            ("XVDA", None),
            ("99999999999", None),
        ],
    )
    def test_it_is_libxls_number(self, vdev: str, number: int | None) -> None:
        assert vdev_number(vdev) == number


class TestCpuid:
    def test_names_become_bits(self) -> None:
        policy = CpuidPolicy.parse("host,sse3=0,sse3=k,tm=1,stepping=3")
        edx = "xx1" + "x" * 29
        assert policy.leaves == (CpuidLeaf(1, eax="x" * 28 + "0011", ecx="x" * 31 + "k", edx=edx),)
        assert CpuidPolicy.parse("host,tm=1,sse3=k").text == "host,sse3=k,tm=1"
        assert CpuidPolicy.parse("host,tm=1,sse3=k").features() == {"sse3": "k", "tm": "1"}
        assert policy.features() is None

    def test_family_and_model_lie_in_two_places(self) -> None:
        eax = CpuidPolicy.parse("host,family=21,model=0x1a").leaves[0].eax
        assert eax is not None
        assert int(eax.replace("x", "0"), 2) == (6 << 20) | (1 << 16) | (15 << 8) | (0xA << 4)

    def test_a_feature_register_has_no_older_notation(self) -> None:
        policy = CpuidPolicy.parse("host,rdcl-no=s")
        assert policy.msrs[0].index == 0x10A
        assert policy.msrs[0].policy == "x" * 63 + "k"
        assert policy.text == "host,rdcl-no=k"
        assert policy.xend is None

    def test_the_older_notation_means_itself(self) -> None:
        items = ("0x1:ecx=" + "x" * 31 + "0,edx=" + "1" * 32, "0x4,0x0:eax=" + "k" * 32)
        policy = CpuidPolicy.parse_xend(items)
        assert policy.xend == items
        assert policy == CpuidPolicy.parse_xend(["1:edx=" + "1" * 32 + ",  ecx=" + "x" * 31 + "0", items[1]])

    @pytest.mark.parametrize("text", ["", "hos", "host,tm", "host,nope=1", "host,tm=y", "host,rdcl-no=01", "host,tm="])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"host|=|name|number|value"):
            CpuidPolicy.parse(text)


def test_xls_spellings_of_enumerations_are_taken() -> None:
    assert NicType("ioemu") is NicType.VIF_IOEMU
    assert VgaInterfaceType("stdvga") is VgaInterfaceType.STD
    assert DeviceModelVersion("qemu-xen") is DeviceModelVersion.QEMU_XEN
    assert ActionOnShutdown("coredump-destroy") is ActionOnShutdown.COREDUMP_DESTROY
    assert ActionOnShutdown("Soft-Reset") is ActionOnShutdown.SOFT_RESET


def test_viridian_takes_names_numbers_and_all() -> None:
    assert Viridian(enable=["base", 7]).enable == {ViridianEnlightenment.BASE, ViridianEnlightenment.SYNIC}
    assert len(Viridian(enable="all").enable) == 64
    assert DomainConfig("a", type="hvm", viridian=True).viridian == Viridian(defaults=True)
    assert DomainConfig("a", type="hvm", viridian=None).viridian == Viridian()


def test_memory_is_mebibytes_down_to_kibibytes() -> None:
    assert mib_to_kib(1.5) == 1536
    assert kib_to_mib(1024) == 1
    assert isinstance(kib_to_mib(1024), int)
    assert all(mib_to_kib(kib_to_mib(kib)) == kib for kib in range(5000))
    assert DomainConfig("a", memory=512.0).memory == 512
    assert repr(DomainConfig("a", memory=512.0)) == "DomainConfig(name='a', memory=512)"
    with pytest.raises(ValueError, match="whole number of KiB"):
        mib_to_kib(0.3)


def test_a_cdrom_drive_is_empty_until_a_disc_is_put_in() -> None:
    drive = Disk(vdev="hdc", cdrom=True)
    assert drive.format == "empty"
    assert drive.replace(target="/a.iso").format == "raw"
    assert drive.replace(target="/a.qcow2", format="qcow2").format == "qcow2"
    assert Disk("/a.iso", vdev="hdc", cdrom=True).replace(target=None).format == "empty"


@pytest.mark.parametrize(
    ("vdev", "number"),
    [
        ("0x0", 0),
        ("0", 0),
        ("0xca00", 51712),
        ("0XCA00", 51712),
        ("51712", 51712),
        ("0145000", 51712),
        ("08", None),
        ("0x", None),
        ("0xg", None),
        ("-1", None),
        (str(2**31), None),
        ("0x80000000", None),
    ],
)
def test_the_number_of_a_disk_as_c_reads_it(vdev: str, number: int | None) -> None:
    assert vdev_number(vdev) == number


def test_xls_word_for_restart_rename() -> None:
    assert DomainConfig("a", kernel="/k", on_crash="rename-restart").on_crash == "restart_rename"
