"""Simulated statistics of a guest, which grow while it runs. Its CPU time is computed in `guests`."""

from __future__ import annotations

from typing import Final

from pyxen.backends.memory.guests import Guest, vcpu_times
from pyxen.info import DiskStats, DomainStats, VifStats

__all__ = ["stats"]

_BLOCK: Final = 4096  # bytes in a request
_FRAME: Final = 128  # bytes in a packet
_READS: Final = 50  # requests a second
_WRITES: Final = 10
_RECEIVED: Final = 20  # packets a second
_SENT: Final = 5


def stats(guest: Guest) -> DomainStats:
    """Return a domain's statistics."""
    seconds = guest.ran()
    reads, writes = int(seconds * _READS), int(seconds * _WRITES)
    received, sent = int(seconds * _RECEIVED), int(seconds * _SENT)
    disks = [
        DiskStats(
            vdev=disk.vdev or "",
            read_requests=reads,
            read_bytes=reads * _BLOCK,
            write_requests=0 if disk.readonly or disk.cdrom else writes,
            write_bytes=0 if disk.readonly or disk.cdrom else writes * _BLOCK,
        )
        for disk in guest.config.disks
    ]
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
        cpu_time_ns=guest.cpu_time_ns(),
        vcpu_times_ns=vcpu_times(guest),
        memory_kib=guest.memory_kib,
        disks=tuple(sorted(disks, key=lambda disk: disk.vdev)),
        vifs=tuple(sorted(vifs, key=lambda vif: vif.devid)),
    )
