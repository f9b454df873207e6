"""Simulated statistics of a guest, which grow while it runs. Its CPU time is computed in `guests`."""

from __future__ import annotations

from typing import Final

from pyxen.backends.memory.guests import Guest, vcpu_times
from pyxen.config import Disk, DiskBackend
from pyxen.records.stats import DeviceState, DiskStats, DomainStats, VifStats

__all__ = ["stats"]

_BLOCK: Final = 4096  # bytes in a request
_FRAME: Final = 128  # bytes in a packet
_READS: Final = 50  # requests a second
_WRITES: Final = 10
_RECEIVED: Final = 20  # packets a second
_SENT: Final = 5


def stats(guest: Guest, now: float) -> DomainStats:
    """Return a domain's statistics; `now` is the time of its host, in seconds."""
    connected = guest.booted and guest.drivers
    seconds = guest.ran() if connected else 0.0
    received, sent = int(seconds * _RECEIVED), int(seconds * _SENT)
    vifs = [
        VifStats(
            devid=vif.devid or 0,
            rx_bytes=received * _FRAME,
            rx_packets=received,
            rx_errors=0,
            rx_dropped=0,
            tx_bytes=sent * _FRAME,
            tx_packets=sent,
            tx_errors=0,
            tx_dropped=0,
        )
        for vif in guest.config.vifs
    ]
    return DomainStats(
        info=guest.info(),
        monotonic_ns=int(now * 1e9),
        vcpu_times_ns=vcpu_times(guest),
        vcpus_online=tuple(vcpu < guest.online for vcpu in range(guest.config.effective_maxvcpus)),
        disks=tuple(
            sorted(
                (_disk(disk, seconds, connected=connected) for disk in guest.config.disks), key=lambda disk: disk.vdev
            )
        ),
        vifs=tuple(sorted(vifs, key=lambda vif: vif.devid)),
    )


def _disk(disk: Disk, seconds: float, *, connected: bool) -> DiskStats:
    reads, writes = int(seconds * _READS), int(seconds * _WRITES)
    if disk.readonly or disk.cdrom:
        writes = 0
    by_kernel = disk.backendtype is DiskBackend.PHY
    return DiskStats(
        vdev=disk.vdev or "",
        read_requests=reads,
        read_bytes=reads * _BLOCK,
        write_requests=writes,
        write_bytes=writes * _BLOCK,
        flush_requests=writes // _WRITES,
        discard_requests=0,
        discard_bytes=None if by_kernel else 0,
        out_of_requests=0 if by_kernel else None,
        backend=disk.backendtype or DiskBackend.QDISK,
        state=DeviceState.CONNECTED if connected else DeviceState.INIT_WAIT,
    )
