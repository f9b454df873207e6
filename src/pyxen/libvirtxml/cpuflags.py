"""libvirt's names of CPU features, and their CPUID bits."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FLAGS", "NAMES", "Bit"]


class Bit(NamedTuple):
    """The CPUID bit of a feature.

    Attributes:
        leaf: The CPUID leaf.
        subleaf: The subleaf; None for leaves without subleaves.
        register: ``eax`` … ``edx``.
        bit: The bit, 0 for the lowest.
    """

    leaf: int
    subleaf: int | None
    register: str
    bit: int


# Names and bits by leaf, subleaf and register; only leaves that libxl can change.
_TABLE: Final[dict[tuple[int, int | None, str], str]] = {
    (0x1, None, "ecx"): (
        "pni:0 pclmuldq:1 dtes64:2 monitor:3 ds_cpl:4 vmx:5 smx:6 est:7 tm2:8 ssse3:9 cid:10 fma:12 cx16:13 "
        "xtpr:14 pdcm:15 pcid:17 dca:18 sse4.1:19 sse4.2:20 x2apic:21 movbe:22 popcnt:23 tsc-deadline:24 aes:25 "
        "xsave:26 osxsave:27 avx:28 f16c:29 rdrand:30 hypervisor:31"
    ),
    (0x1, None, "edx"): (
        "fpu:0 vme:1 de:2 pse:3 tsc:4 msr:5 pae:6 mce:7 cx8:8 apic:9 sep:11 mtrr:12 pge:13 mca:14 cmov:15 "
        "pat:16 pse36:17 pn:18 clflush:19 ds:21 acpi:22 mmx:23 fxsr:24 sse:25 sse2:26 ss:27 ht:28 tm:29 ia64:30 "
        "pbe:31"
    ),
    (0x6, None, "eax"): ("arat:2"),
    (0x7, 0, "ebx"): (
        "fsgsbase:0 tsc_adjust:1 sgx:2 bmi1:3 hle:4 avx2:5 fdp-excptn-only:6 smep:7 bmi2:8 erms:9 invpcid:10 "
        "rtm:11 cmt:12 zero-fcs-fds:13 mpx:14 avx512f:16 avx512dq:17 rdseed:18 adx:19 smap:20 avx512ifma:21 "
        "pcommit:22 clflushopt:23 clwb:24 intel-pt:25 avx512pf:26 avx512er:27 avx512cd:28 sha-ni:29 avx512bw:30 "
        "avx512vl:31"
    ),
    (0x7, 0, "ecx"): (
        "avx512vbmi:1 umip:2 pku:3 ospke:4 waitpkg:5 avx512vbmi2:6 gfni:8 vaes:9 vpclmulqdq:10 avx512vnni:11 "
        "avx512bitalg:12 avx512-vpopcntdq:14 la57:16 rdpid:22 bus-lock-detect:24 cldemote:25 movdiri:27 "
        "movdir64b:28 sgxlc:30 pks:31"
    ),
    (0x7, 0, "edx"): (
        "avx512-4vnniw:2 avx512-4fmaps:3 fsrm:4 avx512-vp2intersect:8 md-clear:10 serialize:14 tsx-ldtrk:16 "
        "pconfig:18 arch-lbr:19 amx-bf16:22 avx512-fp16:23 amx-tile:24 amx-int8:25 spec-ctrl:26 stibp:27 "
        "flush-l1d:28 arch-capabilities:29 core-capability:30 ssbd:31"
    ),
    (0x7, 1, "eax"): (
        "sha512:0 sm3:1 sm4:2 avx-vnni:4 avx512-bf16:5 cmpccxadd:7 fzrm:10 fsrs:11 fsrc:12 fred:17 lkgs:18 "
        "wrmsrns:19 amx-fp16:21 avx-ifma:23 lam:26"
    ),
    (0x7, 1, "edx"): ("avx-vnni-int8:4 avx-ne-convert:5 amx-complex:8 avx-vnni-int16:10 prefetchiti:14 avx10:19"),
    (0x7, 2, "edx"): ("intel-psfd:0 ipred-ctrl:1 rrsba-ctrl:2 ddpd-u:3 bhi-ctrl:4 mcdt-no:5"),
    (0xD, 1, "eax"): ("xsaveopt:0 xsavec:1 xgetbv1:2 xsaves:3 xfd:4"),
    (0x80000001, None, "ecx"): (
        "lahf_lm:0 cmp_legacy:1 svm:2 extapic:3 cr8legacy:4 abm:5 sse4a:6 misalignsse:7 3dnowprefetch:8 osvw:9 "
        "ibs:10 xop:11 skinit:12 wdt:13 lwp:15 fma4:16 tce:17 cvt16:18 nodeid_msr:19 tbm:21 topoext:22 "
        "perfctr_core:23 perfctr_nb:24"
    ),
    (0x80000001, None, "edx"): (
        "syscall:11 nx:20 mmxext:22 fxsr_opt:25 pdpe1gb:26 rdtscp:27 lm:29 3dnowext:30 3dnow:31"
    ),
    (0x80000007, None, "ebx"): ("overflow-recov:0 succor:1"),
    (0x80000007, None, "edx"): ("invtsc:8"),
    (0x80000008, None, "ebx"): (
        "clzero:0 xsaveerptr:2 wbnoinvd:9 ibpb:12 ibrs:14 amd-stibp:15 stibp-always-on:17 amd-ssbd:24 "
        "virt-ssbd:25 amd-no-ssb:26 amd-psfd:28"
    ),
    (0x80000021, None, "eax"): (
        "no-nested-data-bp:0 lfence-always-serializing:2 null-sel-clr-base:6 auto-ibrs:8 eraps:24 sbpb:27 "
        "ibpb-brtype:28 srso-no:29 srso-user-kernel-no:30"
    ),
}

FLAGS: Final = {
    name: Bit(*place, int(bit))
    for place, flags in _TABLE.items()
    for name, _, bit in (flag.rpartition(":") for flag in flags.split())
}
"""The features, by libvirt's names."""

_UNKNOWN_TO_LIBXL: Final = (
    "fdp-excptn-only zero-fcs-fds avx512ifma pcommit intel-pt sha-ni avx512vbmi waitpkg avx512vbmi2 avx512vnni "
    "avx512bitalg la57 bus-lock-detect sgxlc pks tsx-ldtrk pconfig arch-lbr amx-bf16 amx-tile amx-int8 flush-l1d "
    "arch-capabilities core-capability sha512 sm3 sm4 cmpccxadd fsrc fred lkgs wrmsrns amx-fp16 avx-ifma lam "
    "avx-vnni-int8 avx-ne-convert amx-complex avx-vnni-int16 prefetchiti avx10 ddpd-u xfd tce cvt16 "
    "overflow-recov succor xsaveerptr stibp-always-on amd-no-ssb amd-psfd no-nested-data-bp "
    "lfence-always-serializing null-sel-clr-base eraps srso-user-kernel-no"
)
"""Names that libxl does not know in the oldest supported release of Xen.

libvirt's Xen driver translates some of its names into libxl's, and hands on the others as they are. It refuses to start
a guest with a name that libxl does not know.
"""

NAMES: Final = {bit: name for name, bit in FLAGS.items() if name not in _UNKNOWN_TO_LIBXL.split()}
"""libvirt's names, by feature, that are written."""
