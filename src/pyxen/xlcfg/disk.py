"""The grammar of ``disk``: ``"/dev/vg0/web1,raw,xvda,rw"``, or ``"format=raw, vdev=xvda, target=/dev/vg0/web1"``.

Positions and names may be mixed; the old prefixes (``phy:``, ``tap:aio:`` …) are read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import Disk, DiskBackend, DiskColo, DiskFormat, DiskSpecification, vdev_number
from pyxen.config.base import fields_of
from pyxen.xlcfg.item_grammar import Note, SpecError, number_or_zero, sayable, unnoted

__all__ = ["read_disk", "read_disk_arguments", "write_disk"]

_LONGEST_WITH_LINES: Final = 4096
"""What a spec with a line end may have in characters: xl's scanner, and so ours, reads such a one again and again."""

_PREFIXES: Final = r"raw|qcow2?|vhd|iscsi|e?nbd|drbd|tapdisk|tap2?|aio|ioemu|file|phy"
_RULES: Final = {
    # Each matches from where the scanner stands. What is taken is the group of that name, or else the whole match.
    "blanks": re.compile(r"(?P<taken>[ \t\n]+)(?:[^ \t\n].*)?"),
    "flag": re.compile(
        r"(cdrom|devtype=cdrom|devtype=disk|direct-io-safe|discard|no-discard|colo|no-colo|trusted|untrusted"
        r"|grant_usage=1|grant_usage=0),?"
    ),
    "named": re.compile(
        r"(format|devtype|access|backend|backendtype|specification|vdev|script|colo-host|colo-port|colo-export"
        r"|active-disk|hidden-disk)=([^,]*),?"
    ),
    "target": re.compile(r"target=(.*)"),
    "unknown": re.compile(r"([a-z][-a-z0-9]*)=[^,]"),
    "prefix": re.compile(rf"(?P<taken>({_PREFIXES}):).*"),
    "unknown prefix": re.compile(r"(?P<taken>[a-z][a-z0-9]*:)(?:[^a-z0-9].*)?"),
    "positional": re.compile(r"([^=,]*),|([^=,]+)"),
}
"""The rules of xl's scanner: the longest match decides, the first of these among matches of the same length.

What stands behind the group ``taken`` counts for the length, but is read again. A dot is no line end.
"""

_PLAIN: Final = re.compile(
    rf"([ \t]*+)(?:({_PREFIXES}):|(?![a-z][a-z0-9]*:(?:[^a-z0-9]|\Z))(?:([^=,]*),|([^=,]+)\Z)"
    r"|target=(.*)|([a-z]+)=([^,]*),?)"
)
"""What most specs without a line end consist of, and the one rule of the scanner that matches most of it:

a prefix, a positional word, the target, or a word with a name. Blanks before it are a match of their own.
"""

_PLAIN_NAMES: Final = frozenset({"format", "access", "backend", "backendtype", "specification", "vdev", "script"})
"""The names of those that are read by the rule ``named`` whatever their values are."""

_FORMATS: Final = {"": DiskFormat.RAW} | {kind.value: kind for kind in DiskFormat if kind != "unknown"}
_ACCESS: Final = {"r": True, "ro": True, "rw": False, "w": False, "": False}
_FLAGS: Final[dict[str, tuple[str, Any]]] = {
    "cdrom": ("cdrom", True),
    "devtype=cdrom": ("cdrom", True),
    "devtype=disk": ("cdrom", False),
    "direct-io-safe": ("direct_io_safe", True),
    "discard": ("discard", True),
    "no-discard": ("discard", False),
    "colo": ("colo.enable", True),
    "no-colo": ("colo.enable", False),
    "trusted": ("trusted", True),
    "untrusted": ("trusted", False),
    "grant_usage=1": ("grant_usage", True),
    "grant_usage=0": ("grant_usage", False),
}
_WRITTEN_FLAGS: Final = [
    (word, field, value) for word, (field, value) in _FLAGS.items() if field in ("discard", "trusted", "grant_usage")
]
_NO_COLO: Final = fields_of(Disk).defaults[fields_of(Disk).places["colo"]]
_STRINGS: Final = {
    "backend": "backend",
    "vdev": "vdev",
    "script": "script",
    "colo-host": "colo.host",
    "colo-export": "colo.export",
    "active-disk": "colo.active_disk",
    "hidden-disk": "colo.hidden_disk",
}


class _Reader:
    """One spec while it is read: what was said so far."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self.said: dict[str, Any] = {}
        self.readonly = False
        self._old_prefix = False
        self._access_by_position = False

    def string(self, name: str, value: str) -> None:
        """Take a string; it may be said again only where nothing was said first."""
        if self.said.get(name):
            raise SpecError(f"{name.rpartition('.')[2]} is given twice")
        self.said[name] = value

    def member(self, name: str, value: Any) -> None:
        """Take a member of an enumeration; it may be said again, but not otherwise."""
        if self.said.get(name, value) is not value:
            raise SpecError(f"{name} is given twice, as {self.said[name]} and as {value}")
        self.said[name] = value

    def format(self, value: str) -> None:
        """Take a format."""
        if value not in _FORMATS:
            names = "raw, qcow, qcow2, vhd, qed or empty"
            if vdev_number(value.partition(":")[0]) is not None:
                raise SpecError(
                    f"{quoted(value)} stands where the format belongs, which is {names}: write raw before it"
                )
            raise SpecError(f"{quoted(value)} is not a format; it can be {names}")
        self.member("format", _FORMATS[value])

    def access(self, value: str) -> None:
        """Take a mode of access."""
        if value not in _ACCESS:
            raise SpecError(f"{quoted(value)} is not a mode of access; it can be ro, r, rw or w")
        self.readonly = _ACCESS[value]

    def named(self, name: str, value: str) -> None:
        """Take ``name=value``."""
        if name in _STRINGS:
            self.string(_STRINGS[name], value)
        elif name == "format":
            self.format(value)
        elif name == "access":
            self.access(value)
        elif name == "devtype":
            raise SpecError(f"{quoted(value)} is not a device type; it can be cdrom or disk")
        elif name == "colo-port":
            self.said["colo.port"] = number_or_zero(f"{name}={value}", value, self._note, base=10)
            if not self.said["colo.port"]:
                raise SpecError(f"{quoted(value)} is not a port number")
        else:
            kind = DiskBackend if name == "backendtype" else DiskSpecification
            found = next((one for one in kind if one.value == value and value != "unknown"), None)
            if found is None:
                raise SpecError(f"{quoted(value)} is not a valid {name}")
            self.member(name, found)

    def take(self, rule: str, match: re.Match[str]) -> None:
        """Take what a rule of the scanner matches."""
        if rule == "flag":
            name, value = _FLAGS[match[1]]
            self.said[name] = value
        elif rule == "named":
            self.named(match[1], match[2])
        elif rule == "target":
            self.string("target", match[1].removesuffix(","))
        elif rule == "unknown":
            raise SpecError(f"{quoted(match[1])} is not a setting of a disk")
        elif rule == "prefix":
            self.prefix(match[2])
        elif rule == "unknown prefix":
            remedy = "write a target that contains a colon as target=… at the end"
            raise SpecError(f"{quoted(match['taken'])} is not a known prefix; {remedy}")
        elif rule == "positional":
            self.positional(match[2] if match[1] is None else match[1])

    def prefix(self, word: str) -> None:
        """Take an old prefix."""
        self._old_prefix = True
        if word in ("raw", "qcow", "qcow2", "vhd"):
            self.format(word)
        elif word in ("iscsi", "nbd", "enbd", "drbd"):
            self.string("script", f"block-{word}")

    def positional(self, word: str) -> None:
        """Take a word without a name: the first of target, format, vdev and access that was not said."""
        if "target" not in self.said:
            self.said["target"] = word
        elif not self._old_prefix and "format" not in self.said:
            if not self.said["target"] and self._vdev_and_devtype(word):
                self.said["format"] = DiskFormat.EMPTY
            else:
                self.format(word)
        elif "vdev" not in self.said:
            if not self._vdev_and_devtype(word):
                self.said["vdev"] = word
        elif not self._access_by_position:
            self._access_by_position = True
            self.access(word)
        else:
            raise SpecError(f"{quoted(word)} is left over: target, format, vdev and access are all given")

    def _vdev_and_devtype(self, word: str) -> bool:
        vdev, colon, devtype = word.rpartition(":")
        if not colon:
            return False
        self.string("vdev", vdev)
        if devtype not in ("cdrom", "disk"):
            raise SpecError(f"{quoted(devtype)} is not a type of device; it can be cdrom or disk")
        self.said["cdrom"] = devtype == "cdrom"
        return True

    def finish(self) -> Disk:
        """Return the disk."""
        said = self.said
        cdrom = said.get("cdrom", False)
        if "vdev" not in said:
            raise SpecError("the disk's name in the guest is missing; write vdev=xvda, for example")
        if "target" not in said and not cdrom:
            raise SpecError("the disk's target is missing; only a CD-ROM drive can be without one")
        colo = {name[5:]: said.pop(name) for name in list(said) if name.startswith("colo.")}
        if colo:
            said["colo"] = DiskColo(**colo)
        if self.readonly and not cdrom:
            said["readonly"] = True
        return Disk(**said)


def read_disk(spec: str, note: Note = unnoted) -> Disk:
    """Read one item of ``disk``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    return read_disk_arguments([spec], note)


def read_disk_arguments(specs: Iterable[str], note: Note = unnoted) -> Disk:
    """Read the arguments of ``xl block-attach``: each is scanned by itself, and ends where its target ends.

    Raises:
        SpecError: xl would refuse them.
        ValidationError: A value is impossible.
    """
    reader = _Reader(note)
    for spec in specs:
        _scan(spec, reader)
    return reader.finish()


def _scan(spec: str, reader: _Reader) -> None:
    at = before = 0
    end = len(spec)
    is_one_line = "\n" not in spec
    if not is_one_line and end > _LONGEST_WITH_LINES:
        raise SpecError(f"it has {end} characters, and line ends among them: write it in one line")
    while at < end:
        plain = _PLAIN.match(spec, at) if is_one_line else None
        if plain is not None and _take_plain(reader, plain):
            before, at = plain.end(1), plain.end()
            continue
        rule, match = _longest(spec, at, before)
        if match is None:
            break
        reader.take(rule, match)
        before = at
        at = match.end("taken") if "taken" in match.groupdict() else match.end()


def _take_plain(reader: _Reader, match: re.Match[str]) -> bool:
    """Take a match of `_PLAIN`; return False if the scanner's rules have to be tried."""
    _, prefix, word, last_word, target, name, value = match.groups()
    if name is not None:
        if name not in _PLAIN_NAMES:
            return False
        reader.named(name, value)
    elif target is not None:
        reader.string("target", target.removesuffix(","))
    elif prefix is not None:
        reader.prefix(prefix)
    else:
        word = last_word if word is None else word
        if word in _FLAGS:
            said, meant = _FLAGS[word]
            reader.said[said] = meant
        else:
            reader.positional(word)
    return True


def _longest(spec: str, at: int, before: int) -> tuple[str, re.Match[str] | None]:
    """Return the rule that matches most of a spec from a place on, and its match; None if nothing more counts.

    Raises:
        SpecError: No rule matches.
    """
    matches = [(rule, match) for rule, pattern in _RULES.items() if (match := pattern.match(spec, at))]
    if matches:
        return max(matches, key=lambda found: found[1].end())
    if spec[at:] == "=":
        # xl's scanner forgets a character that it does not know when the spec ends right behind it.
        return "", None
    # The word before it is shown too: it can be a name such as key=, whose value is masked.
    raise SpecError(f"{quoted(spec[before:])} is not a setting that xl knows")


def write_disk(disk: Disk) -> str:
    """Write one item of ``disk``, with names, as far as the grammar has words for it."""
    return ",".join(_words(disk))


def _words(disk: Disk) -> Iterator[str]:
    if disk.target or not (disk.cdrom and disk.format is DiskFormat.EMPTY):
        yield f"format={disk.format}"
    yield from _strings({"vdev": disk.vdev, "backend": disk.backend, "script": disk.script})
    if disk.cdrom:
        yield "devtype=cdrom"
    elif disk.readonly is not None:
        yield f"access={'ro' if disk.readonly else 'rw'}"
    if disk.backendtype is not None:
        yield f"backendtype={disk.backendtype}"
    if disk.specification is not None:
        yield f"specification={disk.specification}"
    if disk.direct_io_safe:
        yield "direct-io-safe"
    for word, field, value in _WRITTEN_FLAGS:
        if getattr(disk, field) is value:
            yield word
    if disk.colo is not _NO_COLO:
        yield from _colo_words(disk.colo)
    if disk.target is not None and "\n" not in disk.target:
        # Behind target= everything is the target, but for one comma at the end.
        yield f"target={disk.target}{',' if disk.target.endswith(',') else ''}"


def _colo_words(colo: DiskColo) -> Iterator[str]:
    if colo.enable is not None:
        yield "colo" if colo.enable else "no-colo"
    if colo.port:
        yield f"colo-port={colo.port}"
    yield from _strings(
        {
            "colo-host": colo.host,
            "colo-export": colo.export,
            "active-disk": colo.active_disk,
            "hidden-disk": colo.hidden_disk,
        }
    )


def _strings(named: dict[str, str | None]) -> Iterator[str]:
    for name, value in named.items():
        if value is not None and sayable(value):
            yield f"{name}={value}"
