"""What `lint` finds for one Xen release and not for another, since and until."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pyxen import xlcfg
from pyxen.config.cpuid_flags import features, since
from pyxen.config.releases import GROWN, KNOWN, MEMBERS_SINCE, MEMBERS_UNTIL, release
from pyxen.xlcfg.keys import KEYS

HVM = 'name = "a"\ntype = "hvm"\nmemory = 512\nvcpus = 1\n'
PVH = 'name = "a"\ntype = "pvh"\nkernel = "/k"\nmemory = 512\n'
PV = PVH.replace('"pvh"', '"pv"')

NEWEST = KNOWN[-1]


def found(text: str, xen: str) -> str:
    return ", ".join(f"{one.severity} {one.code}" for one in xlcfg.lint(text, xen))


def spread(said: str) -> dict[str, str]:
    """Return the findings for each release, of ``4.17-4.18: error refused; 4.22: note removed``."""
    findings = {}
    for part in said.split("; ") if said else ():
        releases, _, what = part.partition(": ")
        first, _, last = releases.partition("-")
        for xen in KNOWN[KNOWN.index(first) : KNOWN.index(last or first) + 1]:
            findings[xen] = what
    return findings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PVH + "tee = 'ffa'\n", "4.17: error newer-value"),
        (PVH + "vcpus = '-1'\n", "4.17-4.21: error refused"),
        (PVH + "vcpus = 0\n", "4.17-4.21: warning ignored-value"),
        (PVH + "cpus = '2'\n", "4.17-4.21: warning ignored-value"),
        (PVH + "cpus = '2'\nmaxvcpus = 2\n", ""),
        (HVM + "p9 = [ 'tag=a' ]\n", "4.17-4.18: error refused"),
        # xl up to 4.18 takes what a folder lacks from the one before it.
        (HVM + "p9 = [ 'tag=a,path=/x,security_model=none', 'tag=b' ]\n", ""),
        (HVM + "p9 = [ 'tag=a,path=/x,security_model=none,type=qemu' ]\n", "4.17-4.18: error newer-value"),
        (HVM + "p9 = [ 'tag=a,path=/x,security_model=none,type=xen_9pfsd' ]\n", "4.17-4.18: error newer-value"),
        (HVM + "p9 = [ 'tag=a,path =/x,security_model=none' ]\n", "4.17-4.18: error refused"),
        (HVM + "vif = [ 'vlan=5' ]\n", "4.17-4.18: warning newer-value"),
        (HVM + "disk = [ '/a,raw,xvda,w,trusted' ]\n", "4.17-4.18: error newer-key"),
        (HVM + "device_model_version = 'qemu-xen-traditional'\n", "4.21-4.22: error removed"),
        (HVM + "bios = 'rombios'\n", "4.17-4.20: warning problem; 4.21-4.22: error removed"),
        (HVM + "sdl = 1\nopengl = 1\n", "4.17-4.20: note no-effect; 4.21-4.22: note removed"),
        (
            HVM + "sdl = 1\nopengl = 1\ndevice_model_version = 'qemu-xen-traditional'\n",
            "4.21-4.22: note removed, error removed",
        ),
        (PV + "vfb = [ 'sdl=1,opengl=1' ]\n", "4.17-4.22: note no-effect"),
        (HVM + "device_model_stubdomain_override = 1\n", "4.17-4.22: note no-model-version"),
        (PVH + "nr_spis = 960\n", "4.17-4.18: warning newer-key"),
        (PVH + "nr_spis = 5088\n", "4.17-4.18: warning newer-key; 4.19-4.20: error newer-value"),
        (
            PVH + "nr_spis = 961\n",
            "4.17-4.18: warning newer-key; 4.19-4.20: error newer-value; 4.21-4.22: warning problem",
        ),
        (PVH + "xenstore_quota = [ 'nodes=1', 'nodes=2' ]\n", "4.17-4.21: warning newer-key"),
        # Where xl does not have a key, its value does not matter.
        (PVH + "xenstore_quota = [ 'bogus' ]\n", "4.17-4.21: warning newer-key; 4.22: error refused"),
        (HVM + "cpuid = 'host,lass=1'\n", "4.17-4.20: warning newer-value"),
        (HVM + "cpuid = 'host,fred=1'\n", "4.17-4.18: warning newer-value"),
        (HVM + "cpuid = 'hostile,lass=1'\n", "4.17-4.22: warning ignored-value"),
    ],
    ids=lambda value: value.splitlines()[-1] if "\n" in value else "",
)
def test_each_release(text: str, expected: str) -> None:
    assert {xen: findings for xen in KNOWN if (findings := found(text, xen))} == spread(expected)


def test_the_names_of_cpuid_by_release() -> None:
    known = {xen: {name for name in features() if release(since(name) or "4.17") <= release(xen)} for xen in KNOWN}
    assert [len(new - old) for old, new in pairwise(known.values())] == [9, 17, 13, 14, 1]
    assert len(known["4.20"] - known["4.17"]) == 39
    newer_than_4_20 = (
        "arch-perf-mon avx512-bmm cppc ign-umonitor lam lass lkgs mcu-ext mon-umon-mitg movrs msrlist nmi-src no-invd "
        "slsm uc-lock-dis uiret-uif"
    )
    assert features().keys() - known["4.20"] == set(newer_than_4_20.split())


def test_since_and_until_are_releases_in_their_order() -> None:
    said = [release_ for key in KEYS.values() for release_ in (key.since, key.until) if release_]
    said += [*MEMBERS_SINCE.values(), *MEMBERS_UNTIL.values(), *(release_ for _, release_ in GROWN.values())]
    assert set(said) <= set(KNOWN)
    assert sorted(KNOWN, key=release) == list(KNOWN)
    assert NEWEST not in MEMBERS_UNTIL.values()
