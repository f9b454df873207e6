"""Pinning of vCPUs through libvirt's C library itself.

libvirt-python first asks the host for a map of its CPUs, which libvirt's Xen driver does not have, and fails. The call
for pinning itself needs no such map. This is the only place where pyxen calls libvirt past its Python binding.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable
from typing import Any, Final

from pyxen.backends.libvirt.binding import VirDomain, VirError
from pyxen.config import CpuSet

__all__ = ["pin_vcpu", "pinned"]

_LIBRARY: Final = "libvirt.so.0"
"""The library that libvirt-python has loaded."""


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(_LIBRARY)
    library.virDomainPinVcpu.argtypes = (ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_int)
    library.virDomainGetVcpuPinInfo.argtypes = (
        *(ctypes.c_void_p, ctypes.c_int),
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_uint),
    )
    return library


@functools.cache
def _unwrap() -> Any:
    """Return Python's own function that returns the pointer in a capsule."""
    unwrap = ctypes.pythonapi.PyCapsule_GetPointer
    unwrap.argtypes, unwrap.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_void_p
    return unwrap


def _pointer(domain: VirDomain) -> int:
    """Return the address of libvirt's own object. The caller keeps the domain until the call is over."""
    capsule: Any = domain._o  # type: ignore[attr-defined]  # noqa: SLF001 (libvirt-python has no public name for it)
    pointer: int = _unwrap()(capsule, b"virDomainPtr")
    return pointer


def pin_vcpu(domain: VirDomain, vcpu: int, cpus: Iterable[int], count: int) -> None:
    """Set the CPUs that a vCPU of a running domain may run on.

    Args:
        domain: The domain.
        vcpu: The number of the vCPU.
        cpus: The numbers of the CPUs, below `count`.
        count: How many CPUs the host has.
    """
    places = bytearray(-(-count // 8))
    for cpu in cpus:
        places[cpu // 8] |= 1 << cpu % 8
    if _library().virDomainPinVcpu(_pointer(domain), vcpu, bytes(places), len(places)) != 0:
        raise VirError("virDomainPinVcpu() failed")  # which takes libvirt's own message


def pinned(domain: VirDomain, vcpus: int, count: int, flags: int) -> list[CpuSet]:
    """Return the CPUs that each vCPU may run on, as libvirt knows them.

    Args:
        domain: The domain.
        vcpus: How many vCPUs it has at most.
        count: How many CPUs the host has.
        flags: Whether those of the running domain or those of its definition are meant.
    """
    length = -(-count // 8)
    maps = ctypes.create_string_buffer(vcpus * length)
    told = _library().virDomainGetVcpuPinInfo(_pointer(domain), vcpus, maps, length, flags)
    if told < 0:
        raise VirError("virDomainGetVcpuPinInfo() failed")
    rows = [maps.raw[number * length : (number + 1) * length] for number in range(told)]
    return [CpuSet([cpu for cpu in range(count) if row[cpu // 8] >> cpu % 8 & 1]) for row in rows]
