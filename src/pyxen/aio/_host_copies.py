"""The verbs of a host that make many guests alike, for asyncio: clones of a saved guest, and pools.

Generated from `pyxen._host_copies` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pyxen._copies.clone_operation import Clones, begin_clones
from pyxen._copies.orphans import discard_all
from pyxen._copies.pool_keeper import Keeper
from pyxen._copies.pool_operation import begin_pool
from pyxen._lifetime import Lifetime
from pyxen.aio._host_hypervisor import HostHypervisor
from pyxen.aio.domain import Domain
from pyxen.aio.pool import Pool
from pyxen.backends.base import DomainRef
from pyxen.config import Disk, DomainConfig

__all__ = ["HostCopies"]


class HostCopies(HostHypervisor):
    """The verbs of `Host` for many guests alike, awaited."""

    _lifetime: Lifetime

    def _domain(self, ref: DomainRef, name: str | None = None) -> Domain:
        return Domain(self._backend, self._calls, ref, name)

    async def clone(
        self,
        saved: str | os.PathLike[str],
        n: int = 1,
        *,
        config: DomainConfig | None = None,
        name: str | Callable[[int], str] | None = None,
        disks: Callable[[DomainConfig], Sequence[Disk]] | None = None,
        folder: str | os.PathLike[str] | None = None,
        change: Callable[[DomainConfig], DomainConfig] | None = None,
        paused: bool = False,
        partial: bool = False,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> list[Domain]:
        """Create many domains from one file that `Domain.save` or ``xl save`` wrote, several at a time.

        Each clone has its own name, uuid, generation ID, MAC addresses and disks. What the guest keeps in its memory is
        the same in all: its hostname, its keys, its random seed, and the MAC address that its driver has read. A vif
        that is attached to a clone later has the right address in the guest, too: best save a guest without vifs.

        Each disk that the guest can write to becomes a copy-on-write image over the disk in the file: a qcow2 file that
        ``qemu-img`` makes. The disk must not change any more, so the saved guest must not run on. The images are the
        caller's to remove. If anything fails, all clones are destroyed and their images removed, unless `partial`.

        Args:
            saved: The file, on the host.
            n: How many clones, 1 to 4096. At most 8 are restored at a time.
            config: Replaces the configuration in the file, see `restore`.
            name: Their names: ``"web"`` makes ``web-1``, ``web-2`` and so on. Or a function that gets the numbers, from
                1, and returns names. Default: the name in the file.
            disks: Returns the disks of a clone; called with its configuration, which has its name and uuid. Default:
                copy-on-write images.
            folder: Where the images are made. Default: the folder of the file.
            change: Called with each configuration in the end, and returns the one to use, e.g. with other vifs. The
                uuid cannot be changed.
            paused: Leave them paused.
            partial: If some clones fail, keep the others, and raise `CloneFailed`, which has the results of all.
            autoballoon: Whether dom0 gives up memory if need be, see `create`.
            timeout: Seconds after which to give up and undo all of them. None waits as long as libxl does.

        Returns:
            The clones, in the order of their numbers.

        Raises:
            UnsupportedFeature: This backend cannot restore with another configuration.
            InvalidArgument: The guest has a device that only one guest can have; or a disk that needs `disks`; or the
                folder of images is relative, and the host is elsewhere.
            NotEnoughSpace: There is no room for an image.
            DomainExists: A domain already has one of the names; nothing was made.
            NotEnoughMemory: The host has not enough memory for all of them; nothing was made.
            FileMissing: The file or a disk does not exist.
            ToolMissing: ``qemu-img`` is not installed, and a disk needs an image.
            CloneFailed: Some failed, with `partial`.
            OperationFailed: As for `restore`; the error is that of the first clone that failed.
        """
        clones = await self._calls.finish(
            lambda: begin_clones(
                self._backend,
                self._lifetime.threads,
                self._domain,
                saved,
                n,
                config=config,
                name=name,
                disks=disks,
                folder=folder,
                change=change,
                paused=paused,
                partial=partial,
                autoballoon=autoballoon,
                timeout=timeout,
            ),
            undo=self._discard,
        )
        return clones.handles

    def _discard(self, clones: Clones[Domain]) -> None:
        """Undo a clone whose handles were never returned, because the call was interrupted."""
        discard_all(self._backend, clones.made)

    async def pool(
        self,
        config: DomainConfig | None = None,
        *,
        size: int = 8,
        saved: str | os.PathLike[str] | None = None,
        disks: Callable[[DomainConfig], Sequence[Disk]] | None = None,
        folder: str | os.PathLike[str] | None = None,
        change: Callable[[DomainConfig], DomainConfig] | None = None,
        autoballoon: bool | None = False,
        timeout: float | None = None,
    ) -> Pool:
        """Open a pool: it makes guests ahead, so that `Pool.take` has one at once.

        The guests are paused at their start; or with `saved`, where they were saved, so that they have booted already.
        This returns when the first one is ready, and the others are made in the background, four at a time. At most
        `size` guests are ready or being made. Each has its own uuid, MAC addresses and disks, see `clone`.

        Closing the pool or the host destroys those that were not taken. If the process is killed, they stay, paused;
        `orphans` lists them, and the next pool or clone that is made on the host removes them. Which domains these are
        is recorded in ``/run/pyxen`` before they are made, and until they are taken.

        Args:
            config: The configuration of the guests, without uuid and MAC addresses. With `saved`, it replaces the
                configuration in the file, as in `restore`, and may have them.
            size: How many guests are kept ready, 1 to 4096.
            saved: A file that `Domain.save` or ``xl save`` wrote, on the host.
            disks: Returns the disks of a guest, see `clone`. Default: a copy-on-write image for each disk of the
                configuration that the guest can write to.
            folder: Where the images are made. Default: the folder of `saved`; without it, `config` may not have such
                disks.
            change: Called with each configuration in the end, and returns the one to use; see `clone`. It runs on a
                thread of the pool, as does `disks`.
            autoballoon: Whether dom0 gives up memory for the guests, see `create`. By default it does not.
            timeout: Seconds until the first guest must be ready. None waits as long as libxl does.

        Raises:
            UnsupportedFeature: This backend cannot rename running domains, or restore with another configuration.
            InvalidArgument: The size is not valid; or the configuration has what only one guest can have; or the folder
                of images is relative, and the host is elsewhere.
            ValidationError: Settings contradict each other.
            NotEnoughMemory: The host has not enough free memory for so many guests.
            OperationFailed: The first guest cannot be made: as for `create` or `restore`.
        """
        keeper = await self._calls.finish(
            lambda: begin_pool(
                self._backend,
                config,
                size=size,
                saved=saved,
                disks=disks,
                folder=folder,
                change=change,
                autoballoon=autoballoon,
                lifetime=self._lifetime,
                timeout=timeout,
            ),
            undo=Keeper.close,
        )
        return Pool(keeper, self._calls, self._domain)
