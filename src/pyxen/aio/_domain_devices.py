"""Devices and consoles of a running domain, for asyncio.

Generated from `pyxen._domain_devices` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os
from io import FileIO
from typing import TypeVar

from pyxen.aio._domain_handle import DomainHandle
from pyxen.aio.livedevices import LiveDevices
from pyxen.aio.readers.console import ConsoleStream
from pyxen.config import (
    P9,
    Channel,
    Disk,
    Part,
    Pci,
    Pvcalls,
    UsbCtrl,
    UsbDev,
    Vdispl,
    Vfb,
    Vif,
    Virtio,
    Vkb,
    Vsnd,
    Vtpm,
)
from pyxen.readers._consoletext import which_console
from pyxen.records.endpoints import ConsoleType, ConsoleTypeName, Endpoints

__all__ = ["DomainDevices"]

D = TypeVar("D", bound=Part)


class DomainDevices(DomainHandle):
    """The verbs of `Domain` for devices and consoles, awaited."""

    __slots__ = ()

    @property
    def disks(self) -> LiveDevices[Disk]:
        """Its disks, by vdev: ``domain.disks["xvda"]``; as ``xl block-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "disks")

    @property
    def vifs(self) -> LiveDevices[Vif]:
        """Its network interfaces, by MAC address or devid: ``domain.vifs[0]``; as ``xl network-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "vifs")

    @property
    def pcis(self) -> LiveDevices[Pci]:
        """Its PCI devices, by address on the host: ``domain.pcis["03:00.0"]``; as ``xl pci-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "pcis")

    @property
    def vfbs(self) -> LiveDevices[Vfb]:
        """Its frame buffers, by devid."""
        return LiveDevices(self._backend, self._calls, self._ref, "vfbs")

    @property
    def virtios(self) -> LiveDevices[Virtio]:
        """Its virtio devices, by devid; Arm guests."""
        return LiveDevices(self._backend, self._calls, self._ref, "virtios")

    @property
    def vtpms(self) -> LiveDevices[Vtpm]:
        """Its vTPMs, by uuid or devid; as ``xl vtpm-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "vtpms")

    @property
    def p9s(self) -> LiveDevices[P9]:
        """Its shared folders (9pfs), by devid."""
        return LiveDevices(self._backend, self._calls, self._ref, "p9s")

    @property
    def pvcalls(self) -> LiveDevices[Pvcalls]:
        """Its pvcalls devices, by devid."""
        return LiveDevices(self._backend, self._calls, self._ref, "pvcalls")

    @property
    def vdispls(self) -> LiveDevices[Vdispl]:
        """Its displays, by devid; as ``xl vdispl-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "vdispls")

    @property
    def vsnds(self) -> LiveDevices[Vsnd]:
        """Its sound cards, by devid; as ``xl vsnd-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "vsnds")

    @property
    def channels(self) -> LiveDevices[Channel]:
        """Its channels, by name or devid; as ``xl channel-list``, where devids begin with 0 instead of 1.

        `endpoints` says on which terminal or socket of the host each is.
        """
        return LiveDevices(self._backend, self._calls, self._ref, "channels")

    @property
    def consoles(self) -> LiveDevices[Channel]:
        """Its consoles, by devid: 0 is the PV console. Their configuration is a `Channel` without a name.

        `endpoints` says on which terminals of the host they are.
        """
        return LiveDevices(self._backend, self._calls, self._ref, "consoles")

    @property
    def usbctrls(self) -> LiveDevices[UsbCtrl]:
        """Its USB controllers, by devid; as ``xl usb-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "usbctrls")

    @property
    def usbdevs(self) -> LiveDevices[UsbDev]:
        """Its USB devices, by bus and address on the host: ``domain.usbdevs["1:4"]``; as ``xl usb-list``.

        Their state is that of the controller that each is plugged into.
        """
        return LiveDevices(self._backend, self._calls, self._ref, "usbdevs")

    @property
    def vkbs(self) -> LiveDevices[Vkb]:
        """Its keyboards and pointers, by devid; as ``xl vkb-list``."""
        return LiveDevices(self._backend, self._calls, self._ref, "vkbs")

    async def attach(self, device: D, *, timeout: float | None = None) -> D:
        """Attach a device to the running domain, as ``xl block-attach``, ``network-attach``, ``pci-attach`` and so on.

        libxl creates the device and does not wait for the guest to use it. An HVM guest needs PV drivers to see it:
        emulated devices exist only if the domain was created with them.

        Args:
            device: A `Disk`, `Vif`, `Pci`, `UsbCtrl`, `UsbDev`, `Vtpm`, `Vkb`, `Vdispl`, `Vsnd`, `Vfb`, or from Xen
                4.20 on a `P9`.
            timeout: Seconds after which to give up and undo the attach. None waits as long as libxl does.

        Returns:
            The device as libxl created it, e.g. with the MAC address that it chose. Pass it to `detach`.

        Raises:
            DeviceExists: The domain already has a device with that vdev, MAC, address or devid.
            FileMissing: The file of a disk is not on the host.
            GuestTimeout: A PV guest does not answer the backend of the PCI devices that it has already.
            InvalidArgument: A PCI device stands for several functions: attach each of them.
            NotFound: The bridge of a vif, or a USB device, is not on the host; or a PCI device is not assignable, or
                another domain has it.
            UnsupportedFeature: Such a device can only be created and removed with its domain.
            ValidationError: Its settings contradict each other.
            XenstoreError: What xenstore has of the domain's devices of this kind is not whole.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return await self._calls.finish(
            lambda: self.begin.attach(device, timeout=timeout),
            undo=lambda made: self.begin.detach(made, force=True).wait(),
        )

    async def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> None:
        """Detach a device from the running domain, as ``xl block-detach``, ``network-detach`` and so on.

        The guest is asked to release the device, and has ten seconds to do so. After that a disk stays and an error is
        raised; libxl removes other devices all the same. A PCI device stays, too, if a PV guest does not release it,
        also with `force`: only `destroy` takes it away then.

        Args:
            device: The vdev of a disk, the MAC address of a vif, or the address of a PCI device (all functions with
                ``03:00.*``); or a device, compared by its identifying fields only: ``Vif(devid=0)``,
                ``Vtpm(uuid=...)``, ``Pci(name=...)``, or what `attach` returned.
            force: Remove it immediately, as ``xl block-detach --force``: like pulling the cable. Data that the guest
                has not written is lost.
            timeout: Seconds after which to give up; the guest may still release it later.

        Raises:
            NotFound: The domain has no such device; the message lists those it has.
            InvalidArgument: The argument does not identify a device.
            GuestTimeout: The guest did not release it: it has no driver, or uses the device. It may do so later.
            UnsupportedFeature: Such a device can only be created and removed with its domain.
            OperationTimeout: The guest did not release it in time.
            XenstoreError: What xenstore has of the domain's devices of this kind is not whole.
        """
        await self._calls.finish(lambda: self.begin.detach(device, force=force, timeout=timeout))

    async def insert_cdrom(self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Insert a disc into a CD-ROM drive, replacing the current one, as ``xl cd-insert``; HVM guests.

        Args:
            vdev: The drive, e.g. ``hdc``. The domain must have been created with it.
            target: An ISO image or a block device on the host.
            timeout: Seconds after which to give up; the drive may be left empty. None waits for libxl's own limits.

        Raises:
            NotFound: The domain has no such drive; the message lists those it has.
            FileMissing: The image is not on the host.
            UnsupportedFeature: The domain is not an HVM guest.
            OperationTimeout: The timeout expired.
        """
        await self._calls.finish(lambda: self.begin.insert_cdrom(vdev, target, timeout=timeout))

    async def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> None:
        """Remove the disc from a CD-ROM drive, as ``xl cd-eject``; HVM guests. An empty drive stays empty.

        Args:
            vdev: The drive, e.g. ``hdc``.
            timeout: Seconds after which to give up. None waits for libxl's own limits.

        Raises:
            OperationFailed: As for `insert_cdrom`.
        """
        await self._calls.finish(lambda: self.begin.eject_cdrom(vdev, timeout=timeout))

    async def console(
        self,
        type: ConsoleType | ConsoleTypeName | None = None,  # noqa: A002 (as the field of `ConsoleEndpoint`)
        *,
        number: int = 0,
    ) -> FileIO:
        """Open the guest's console, as ``xl console``, as a raw unbuffered file for reading and writing; close it.

        If two readers read at once, each gets part of the output. A read returns what has arrived, at least one byte.
        In `pyxen.aio`, no call of the file blocks: a read returns None if nothing has arrived, and a write returns how
        much of the data it took, or None. ``loop.add_reader(console, ...)`` calls back when there is output.
        `console_stream` has lines and deadlines.

        Args:
            type: ``pv`` or ``serial``, as ``xl console -t``. Default: the serial port of an HVM guest, and the PV
                console of other guests.
            number: Number among the consoles of this type, as ``xl console -n``. A PV console above 0 is a channel.

        Raises:
            NotFound: The domain does not have this console, or not yet.
            InvalidArgument: It is not a type, or the number is negative.
        """
        which = which_console(type, number, "console")
        return await self._calls.acquire(
            lambda: self._calls.file(self._backend.console(self._ref, *which)), give_back=FileIO.close
        )

    def console_stream(
        self,
        type: ConsoleType | ConsoleTypeName | None = None,  # noqa: A002 (as the field of `ConsoleEndpoint`)
        *,
        number: int = 0,
        timeout: float | None = None,
    ) -> ConsoleStream:
        """Open the guest's console as a stream of lines, which can also be written to; close it.

        ::

            with domain.console_stream(timeout=60) as console:
                for line in console:
                    if "ready" in line:
                        break

        Args:
            type: As for `console`.
            number: As for `console`.
            timeout: Seconds after which a loop over the lines raises `OperationTimeout`. None is no deadline.

        Raises:
            NotFound: The domain does not have this console, or not yet.
            InvalidArgument: It is not a type, or the number is negative.
        """
        which = which_console(type, number, "console_stream")
        return ConsoleStream(self._backend, self._calls, self._ref, *which, timeout)

    async def console_log(self) -> str | None:
        """Return the path of the log to which xenconsoled writes what the guest's PV console prints.

        xenconsoled keeps such logs if it runs with ``--log=guest`` or ``--log=all`` (``XENCONSOLED_TRACE``), by the
        name that the domain had when it was created, e.g. ``/var/log/xen/console/guest-web1.log``. A log continues that
        of earlier domains of this name.

        Returns:
            The path; None if there is no such file.

        Raises:
            UnsupportedFeature: This backend does not know such logs.
            OperationFailed: The folder of the logs cannot be looked at.
        """
        return await self._calls.ask(lambda: self._backend.console_log(self._ref))

    async def endpoints(self) -> Endpoints:
        """Return what a program can connect to: VNC, SPICE, consoles and channels, as they are now.

        Ports and terminals that Xen or QEMU chose are the actual ones. A console or channel whose terminal does not
        exist yet is left out, and so is one whose path the guest has tampered with. The QEMU of an HVM guest is asked
        for its SPICE server, which takes 3 seconds at most; it does not tell the password.

        Raises:
            OperationTimeout: QEMU did not answer.
            QmpError: QEMU's answer is not valid.
            UnsupportedFeature: This backend does not report them.
        """
        return await self._calls.ask(lambda: self._backend.endpoints(self._ref))

    async def add_console(self, *, port: int | None = None, gfn: int | None = None, backend_domid: int = 0) -> None:
        """Announce the guest's console to xenconsoled, so that `console` and ``xl console`` can open it.

        This is for a domain that Xen itself created when the host booted (dom0less), once init-dom0less has introduced
        it to xenstore. Domains created by libxl have a console already. xenconsoled publishes the terminal shortly
        afterwards.

        Args:
            port: The guest's end of the event channel. Default: the one that Xen keeps; for PV guests it keeps no port.
            gfn: Frame number of the page with the console's ring. Default: the one that Xen keeps.
            backend_domid: The domain in which xenconsoled serves the console.

        Raises:
            DeviceExists: The domain already has a console.
            DomainNotFound: The domain `backend_domid` does not exist.
            InvalidArgument: Xen keeps no `port` or `gfn` for this guest, or those given are not valid.
            UnsupportedFeature: libxl of Xen 4.17 cannot do this.
        """
        await self._calls.finish(lambda: self.begin.add_console(port=port, gfn=gfn, backend_domid=backend_domid))
