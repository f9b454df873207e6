"""How a new guest is reached: its name, who may log in, and its address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from pyxen._printable import quoted
from pyxen.errors import InvalidArgument
from pyxen.images.programs import run
from pyxen.images.texts import text_of, texts_of

__all__ = ["Access"]

_HOSTNAME: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE
)
_KEY: Final = re.compile(r"(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]+( [^\n]*)?")
_HASH: Final = re.compile(r"\$\w+\$[^\s:]+")  # a colon would end its field of /etc/shadow

_LONGEST_NAME: Final = 64
"""Characters of a name of a Linux host."""

_LONGEST_PASSWORD: Final = 256
"""Bytes of a password that openssl hashes; it leaves out further ones without a word."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a new guest is reached.

    Raises:
        InvalidArgument: A value is not valid, or nobody could log in.
    """

    hostname: str
    """Its name; `GuestImage.config` names the domain after it."""
    _: KW_ONLY
    ssh_keys: Iterable[str] = ()
    """Public keys, as the lines of ``id_ed25519.pub``: who has one of them may log in."""
    password: str | None = field(default=None, repr=False)
    """The password, of at most 256 bytes, or its hash as in /etc/shadow: ``$6$…``. Default: no login with one."""
    address: str | None = None
    """Address of its first network card, with the length of the prefix: ``192.0.2.7/24``. Default: DHCP."""
    gateway: str | None = None
    """Address of its default gateway, with `address`."""
    nameservers: Iterable[str] = ()
    """Addresses of its name servers, with `address`."""

    def __post_init__(self) -> None:
        text_of(self.hostname, "hostname")
        for name in ("password", "address", "gateway"):
            if getattr(self, name) is not None:
                text_of(getattr(self, name), name)
        object.__setattr__(self, "ssh_keys", tuple(key.strip() for key in texts_of(self.ssh_keys, "ssh_keys")))
        object.__setattr__(self, "nameservers", texts_of(self.nameservers, "nameservers"))
        if len(self.hostname) > _LONGEST_NAME or not _HOSTNAME.fullmatch(self.hostname):
            raise _invalid(
                f"{self.hostname!r} is not a valid hostname: letters, digits, hyphens, at most 64 characters"
            )
        for key in self.ssh_keys:
            if not _KEY.fullmatch(key):
                raise _invalid(
                    f"{key[:40]!r} is not a public key of ssh: give the one line of a file like id_ed25519.pub"
                )
        if self.password is not None:
            _check_password(self.password)
        if not self.ssh_keys and self.password is None:
            raise _invalid("nobody could log in: give ssh_keys or password")
        if self.address is None and (self.gateway is not None or self.nameservers):
            raise _invalid("gateway and nameservers go with an address; with DHCP they come from its server")
        _check_addresses(self.address, self.gateway, tuple(self.nameservers))

    def password_hash(self) -> str | None:
        """Return the hash of the password, as in /etc/shadow; None without one.

        Raises:
            ToolMissing: The password is not hashed, and openssl, which would do it, is not installed.
        """
        if self.password is None or _is_hash(self.password):
            return self.password
        return run(["openssl", "passwd", "-6", "-stdin"], package="openssl", text=f"{self.password}\n")[0]


def _is_hash(password: str) -> bool:
    return _HASH.fullmatch(password) is not None


def _check_password(password: str) -> None:
    if not password or "\n" in password or "\r" in password:
        raise _invalid("a password has at least one character, and no line feed or carriage return")
    size = len(password.encode())
    if size > _LONGEST_PASSWORD and not _is_hash(password):
        raise _invalid(
            f"the password has {size} bytes, of which openssl hashes {_LONGEST_PASSWORD}: "
            "give a shorter one, or a hash that another program has made of it"
        )


def _check_addresses(address: str | None, gateway: str | None, nameservers: tuple[str, ...]) -> None:
    others = (*([] if gateway is None else [gateway]), *nameservers)
    try:
        for each in (*([] if address is None else [address]), *others):
            if re.search(r"\s", each):  # ipaddress takes any name of an interface behind a %
                raise _invalid(f"{quoted(each)} is not an address")
        if address is not None:
            if "/" not in address:
                raise _invalid(f"the address {address} needs the length of its prefix: {address}/24")
            ipaddress.ip_interface(address)
        for each in others:
            ipaddress.ip_address(each)
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        raise _invalid(str(error)) from None


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, operation="image")
