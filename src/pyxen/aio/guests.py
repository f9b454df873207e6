"""The guests of a host as a collection, for asyncio.

Generated from `pyxen.guests` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from pyxen._common.arguments import check_bools
from pyxen._common.ready_names import is_to_be_asked
from pyxen._durations import timeout_of
from pyxen.aio.domain import Domain
from pyxen.aio.domains import Domains
from pyxen.errors import DomainNotFound, Error
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo

__all__ = ["Guests"]


class Guests(Domains):
    """The current guests of a host: like `Domains`, but without dom0 and without stub domains.

    A stub domain runs the device model of another guest, see `DomainInfo.stubdomain_of`; `Host.domains` has it.
    """

    def __repr__(self) -> str:
        return f"<Guests of {self._backend.uri}>"

    async def shutdown_all(
        self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None
    ) -> dict[Domain, Error]:
        """Ask all guests to power off, at the same time, and wait until they have, as ``xl shutdown -a -w``.

        A guest that cannot be asked, or does not power off, does not keep the others from it. Guests that have ended
        are left as they are.

        Args:
            wait: False returns as soon as all guests have acknowledged the request, as ``xl shutdown -a``.
            fallback: Press the ACPI power button of HVM guests without a PV driver, as ``xl shutdown -a -F``.
            timeout: Seconds after which to give up; guests may still shut down later. None waits forever.

        Returns:
            The guests that did not, each with the error that `Domain.shutdown` would raise. It is empty if all did.

        Raises:
            InvalidArgument: `timeout` is no number of seconds.
            UnsupportedFeature: This backend does not know `fallback`.
        """
        check_bools("shutdown", wait=wait, fallback=fallback)
        timeout = timeout_of(timeout, operation="shutdown")
        return await self._ask_all(lambda guest: guest.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout))

    async def reboot_all(
        self, *, wait: bool = False, fallback: bool = False, timeout: float | None = None
    ) -> dict[Domain, Error]:
        """Ask all guests to reboot, at the same time, as ``xl reboot -a``. Their supervisors then restart them.

        Args:
            wait: Wait until all guests have shut down, as ``xl reboot -a -w``.
            fallback: Reset HVM guests without a PV driver, as ``xl reboot -a -F``. Xen refuses that on x86.
            timeout: Seconds after which to give up. None waits forever; without `wait` it is libxl's limit, 60 s.

        Returns:
            The guests that did not, each with the error that `Domain.reboot` would raise. It is empty if all did.

        Raises:
            InvalidArgument: `timeout` is no number of seconds.
            UnsupportedFeature: This backend cannot reboot guests, or does not know `fallback`.
        """
        check_bools("reboot", wait=wait, fallback=fallback)
        timeout = timeout_of(timeout, operation="reboot")
        return await self._ask_all(lambda guest: guest.begin.reboot(wait=wait, fallback=fallback, timeout=timeout))

    async def _ask_all(self, begin: Callable[[Domain], Operation[None]]) -> dict[Domain, Error]:
        """Begin an operation on each guest that runs, wait for all, and return those that failed."""
        guests = await self._calls.ask(lambda: [self._handle(info) for info in self._alive() if is_to_be_asked(info)])
        errors = await self._calls.finish_each([partial(begin, guest) for guest in guests])
        failed = {guest: error for guest, error in zip(guests, errors, strict=True) if error is not None}
        return {guest: error for guest, error in failed.items() if not isinstance(error, DomainNotFound)}  # has ended

    def _shown(self, infos: Iterable[DomainInfo]) -> list[DomainInfo]:
        guests = [info for info in super()._shown(infos) if info.domid != 0 and info.stubdomain_of is None]
        xenstore = self._backend.xenstore_domid() if guests else None
        return [info for info in guests if info.domid != xenstore]
