"""The kernels of the image: plain ELF files, as QEMU's multiboot loader and Xen's domain builder want them."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
from typing import TYPE_CHECKING

from lab.errors import BuildFailed

if TYPE_CHECKING:
    from pathlib import Path


def vmlinux(bzimage: bytes) -> bytes:
    """The uncompressed kernel inside a bzImage.

    A guest made from a compressed one takes 10 s longer to create: dom0 would unpack it under emulation.

    Raises:
        BuildFailed: It is no bzImage, or compressed in a way not known here.
    """
    if bzimage[0x202:0x206] != b"HdrS":
        raise BuildFailed("Debian's kernel is not a bzImage")
    setup_sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)  # payload_offset, payload_length of the boot protocol
    start = (setup_sectors + 1) * 512 + offset
    # The last four bytes are the length when unpacked, not part of the compressed stream.
    payload = bzimage[start : start + length - 4]
    if payload.startswith(b"\xfd7zXZ\0"):
        kernel = lzma.decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        kernel = subprocess.run(["zstd", "-dc"], input=payload, capture_output=True, check=True, timeout=120).stdout
    elif payload.startswith(b"\x1f\x8b"):
        kernel = gzip.decompress(payload)
    else:
        raise BuildFailed(f"the kernel is compressed in an unknown way (it begins with {payload[:6].hex()})")
    if not kernel.startswith(b"\x7fELF"):
        raise BuildFailed("what was unpacked from the kernel is not an ELF file")
    return kernel


def hypervisor(tree: Path, xen: str) -> bytes:
    """The multiboot ELF of the Xen hypervisor installed in a tree."""
    return gzip.decompress((tree / "boot" / f"xen-{xen}-amd64.gz").read_bytes())


def kernel_version(tree: Path) -> str:
    """The version of the one Linux kernel installed in a tree, as ``uname -r`` prints it.

    Raises:
        BuildFailed: There is none, or more than one.
    """
    versions = [folder.name for folder in (tree / "usr/lib/modules").iterdir()]
    if len(versions) != 1:
        raise BuildFailed(f"expected one kernel in the image, found {versions}")
    return versions[0]


def module_files(tree: Path, names: list[str]) -> list[tuple[str, bytes]]:
    """Some kernel modules and all they depend on, in the order in which to load them: (file name, content).

    Modules that are built into this kernel are left out.
    """
    folder = tree / "usr/lib/modules" / kernel_version(tree)
    needs: dict[str, list[str]] = {}
    for line in (folder / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {path.rpartition("/")[2].removesuffix(".ko").replace("-", "_"): path for path in needs}
    ordered: list[str] = []
    for name in names:
        wanted = by_name.get(name.replace("-", "_"))
        if wanted is not None:
            # modules.dep lists what a module needs with the deepest need last
            ordered += [path for path in [*reversed(needs[wanted]), wanted] if path not in ordered]
    return [
        (f"{number:02}-{path.rpartition('/')[2]}", (folder / path).read_bytes()) for number, path in enumerate(ordered)
    ]
