"""libxl's names for fields of CPUID leaves and feature registers, from Xen 4.17 on."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

__all__ = ["Feature", "feature_names", "features", "since"]


class Feature(NamedTuple):
    """The field that a name stands for.

    Attributes:
        name: The name.
        register: ``eax`` to ``edx``; ``msr`` for a model specific register, whose number is then the ``leaf``.
        leaf: The leaf.
        subleaf: The subleaf; None if the leaf has none.
        bit: The lowest bit.
        width: Number of bits; more than one for a number such as ``stepping``.
    """

    name: str
    register: str
    leaf: int
    subleaf: int | None
    bit: int
    width: int


# By register, leaf and subleaf: the bit, "+" and the width if the field is wider than a bit, and the name.
_NAMES: Final = {
    ("eax", 0x00000000, None): ("0+32:maxleaf"),
    ("eax", 0x00000001, None): ("0+4:stepping 4+8:model 8+8:family"),
    ("ebx", 0x00000001, None): ("0+8:brandid 8+8:clflush 16+8:proccount 24+8:localapicid"),
    ("ecx", 0x00000001, None): (
        "0:sse3 1:pclmulqdq 2:dtes64 3:monitor 4:dscpl 5:vmx 6:smx 7:eist 7:est 8:tm2 9:ssse3 10:cntxid 11:sdbg "
        "12:fma 13:cmpxchg16 13:cx16 14:xtpr 15:pdcm 17:pcid 18:dca 19:sse4-1 19:sse4.1 19:sse4_1 20:sse4-2 "
        "20:sse4.2 20:sse4_2 21:x2apic 22:movbe 23:popcnt 24:tsc-deadline 25:aes 25:aesni 26:xsave 27:osxsave "
        "28:avx 29:f16c 30:rdrand 31:hypervisor"
    ),
    ("edx", 0x00000001, None): (
        "0:fpu 1:vme 2:de 3:pse 4:tsc 5:msr 6:pae 7:mce 8:cmpxchg8 8:cx8 9:apic 11:sep 11:sysenter 12:mtrr 13:pge "
        "14:mca 15:cmov 16:pat 17:pse36 18:psn 19:clfsh 21:ds 22:acpi 23:mmx 24:fxsr 25:sse 26:sse2 27:ss 28:htt "
        "29:tm 29:tm1 30:ia64 31:pbe"
    ),
    ("eax", 0x00000004, 0): ("26+6:procpkg"),
    ("eax", 0x00000006, None): ("2:arat"),
    ("ebx", 0x00000007, 0): (
        "0:fsgsbase 1:tsc-adjust 1:tsc_adjust 2:sgx 3:bmi1 4:hle 5:avx2 6:fdp-excp-only 7:smep 8:bmi2 9:erms "
        "10:invpcid 11:rtm 12:cmt 12:pqm 13:no-fpu-sel 14:mpx 15:pqe 16:avx512f 17:avx512dq 18:rdseed 19:adx "
        "20:smap 21:avx512-ifma 23:clflushopt 24:clwb 25:proc-trace 26:avx512pf 27:avx512er 28:avx512cd 29:sha "
        "30:avx512bw 31:avx512vl"
    ),
    ("ecx", 0x00000007, 0): (
        "0:prefetchwt1 1:avx512-vbmi 2:umip 3:pku 4:ospke 5:waitpkg 6:avx512-vbmi2 7:cet-ss 8:gfni 9:vaes "
        "10:vpclmulqdq 11:avx512-vnni 12:avx512-bitalg 13:tme 14:avx512-vpopcntdq 16:la57 22:rdpid 24:bld "
        "25:cldemote 27:movdiri 28:movdir64b 29:enqcmd 30:sgx-lc 31:pks"
    ),
    ("edx", 0x00000007, 0): (
        "1:sgx-keys 2:avx512-4vnniw 3:avx512-4fmaps 4:fsrm 5:uintr 8:avx512-vp2intersect 9:srbds-ctrl 10:md-clear "
        "11:rtm-always-abort 13:tsx-force-abort 14:serialize 15:hybrid 16:tsxldtrk 18:pconfig 19:arch-lbr "
        "20:cet-ibt 22:amx-bf16 23:avx512-fp16 24:amx-tile 25:amx-int8 26:ibrsb 27:stibp 28:l1d-flush "
        "29:arch-caps 30:core-caps 31:ssbd"
    ),
    ("eax", 0x00000007, 1): (
        "0:sha512 1:sm3 2:sm4 4:avx-vnni 5:avx512-bf16 6:lass 7:cmpccxadd 8:arch-perf-mon 10:fzrm 11:fsrs "
        "12:fsrcs 17:fred 18:lkgs 19:wrmsrns 20:nmi-src 21:amx-fp16 23:avx-ifma 26:lam 27:msrlist 30:no-invd "
        "31:movrs"
    ),
    ("ebx", 0x00000007, 1): ("0:intel-ppin"),
    ("edx", 0x00000007, 1): (
        "4:avx-vnni-int8 5:avx-ne-convert 8:amx-complex 10:avx-vnni-int16 14:prefetchi 17:uiret-uif 18:cet-sss 24:slsm"
    ),
    ("edx", 0x00000007, 2): ("0:intel-psfd 1:ipred-ctrl 2:rrsba-ctrl 3:ddp-ctrl 4:bhi-ctrl 5:mcdt-no 6:uc-lock-dis"),
    ("eax", 0x0000000D, 1): ("0:xsaveopt 1:xsavec 2:xgetbv1 3:xsaves 4:xfd"),
    ("eax", 0x40000000, None): ("0+8:maxhvleaf"),
    ("ecx", 0x80000001, None): (
        "0:lahf-lm 0:lahfsahf 1:cmp-legacy 1:cmplegacy 2:svm 3:extapic 4:altmovcr8 4:cr8-legacy 5:abm 6:sse4a "
        "7:misalignsse 8:3dnowprefetch 9:osvw 10:ibs 11:xop 12:skinit 13:wdt 15:lwp 16:fma4 19:nodeid "
        "19:nodeid-msr 21:tbm 22:topoext 23:perfctr_core 24:perfctr_nb 26:dbext 29:monitorx 30:addr-msk-ext"
    ),
    ("edx", 0x80000001, None): ("11:syscall 20:nx 22:mmxext 25:ffxsr 26:page1gb 27:rdtscp 29:lm 30:3dnowext 31:3dnow"),
    ("edx", 0x80000007, None): ("7:hw-pstate 8:invtsc 8:itsc 9:cpb 10:efro"),
    ("ebx", 0x80000008, None): (
        "0:clzero 2:rstr-fp-err-ptrs 9:wbnoinvd 12:ibpb 14:ibrs 15:amd-stibp 16:ibrs-always 17:stibp-always "
        "18:ibrs-fast 19:ibrs-same-mode 20:no-lmsl 23:amd-ppin 23:ppin 24:amd-ssbd 25:virt-ssbd 26:ssb-no 27:cppc "
        "28:psfd 29:btc-no 30:ibpb-ret"
    ),
    ("ecx", 0x80000008, None): ("0+8:nc 12+4:apicidsize"),
    ("edx", 0x8000000A, None): (
        "0:svm_npt 1:svm_lbrv 3:svm_nrips 4:svm_tscrate 5:svm_vmcbclean 7:svm_decode 10:svm_pausefilt"
    ),
    ("eax", 0x80000021, None): (
        "0:no-nest-bp 1:fs-gs-ns 2:lfence+ 2:lfence-dispatch 5:verw-clear 6:nscb 8:auto-ibrs 10:amd-fsrs "
        "11:amd-fsrc 17:cpuid-user-dis 18:epsf 19:fsrsc 20:amd-prefetchi 23:avx512-bmm 27:sbpb 28:ibpb-brtype "
        "29:srso-no 30:srso-us-no 31:srso-msr-fix"
    ),
    ("ecx", 0x80000021, None): ("1:tsa-sq-no 2:tsa-l1-no"),
    ("msr", 0x10A, None): (
        "0:rdcl-no 1:eibrs 2:rsba 3:skip-l1dfl 4:intel-ssb-no 5:mds-no 6:if-pschange-mc-no 7:tsx-ctrl 8:taa-no "
        "9:mcu-ctrl 10:misc-pkg-ctrl 11:energy-filtering 12:doitm 13:sbdr-ssdp-no 14:fbsdp-no 15:psdp-no "
        "16:mcu-ext 17:fb-clear 18:fb-clear-ctrl 19:rrsba 20:bhi-no 21:xapic-status 23:ovrclk-status 24:pbrsb-no "
        "25:gds-ctrl 26:gds-no 27:rfds-no 28:rfds-clear 29:ign-umonitor 30:mon-umon-mitg"
    ),
    ("msr+32", 0x10A, None): ("0:pb-opt-ctrl 30:its-no"),
}


_SINCE: Final = {
    "4.18": "bld pks wrmsrns avx-ifma avx-vnni-int8 avx-ne-convert ddp-ctrl cpuid-user-dis pb-opt-ctrl",
    "4.19": (
        "uintr arch-lbr amx-tile sha512 sm3 sm4 fred avx-vnni-int16 prefetchi addr-msk-ext no-nest-bp fs-gs-ns "
        "amd-fsrs amd-fsrc epsf fsrsc amd-prefetchi"
    ),
    "4.20": ("sdbg waitpkg tme la57 sgx-lc sgx-keys pconfig amx-bf16 amx-int8 cmpccxadd amx-fp16 amx-complex xfd"),
    "4.21": (
        "lass arch-perf-mon lkgs nmi-src lam msrlist no-invd uiret-uif slsm uc-lock-dis cppc mcu-ext ign-umonitor "
        "mon-umon-mitg"
    ),
    "4.22": "avx512-bmm",
    "4.23": "movrs",
}
"""Names that are newer than Xen 4.17, by the release that they came with.

Point releases add names: these are the names that the newest point release of each release knows.
"""


@cache
def _releases() -> dict[str, str]:
    return {name: xen for xen, names in _SINCE.items() for name in names.split()}


def since(name: str) -> str | None:
    """Return the first Xen release whose xl knows a name; None if that is 4.17, or if no release knows it."""
    return _releases().get(name)


@cache
def features() -> dict[str, Feature]:
    """Return every name."""
    found = {}
    for (place, leaf, subleaf), words in _NAMES.items():
        register, _, offset = place.partition("+")
        for word in words.split():
            where, _, name = word.partition(":")
            bit, _, width = where.partition("+")
            found[name] = Feature(name, register, leaf, subleaf, int(bit) + int(offset or 0), int(width or 1))
    return found


@cache
def feature_names() -> dict[tuple[str, int, int | None, int], str]:
    """Return the name of each single bit, by register, leaf, subleaf and bit."""
    return {
        (found.register, found.leaf, found.subleaf, found.bit): found.name
        for found in reversed(list(features().values()))
        if found.width == 1
    }
