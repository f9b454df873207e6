"""The grammars of ``vdispl`` (``"connectors=0:1920x1080;1:800x600"``) and ``vsnd`` (lists of cards, PCMs, streams)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import Connector, Vdispl, Vsnd, VsndParams, VsndPcm, VsndPcmFormat, VsndStream, VsndStreamType
from pyxen.xlcfg.c_numbers import decimal
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, number_or_zero, switch, tokens, unnoted

__all__ = ["read_vdispl", "read_vsnd", "write_vdispl", "write_vsnd"]

_RESOLUTION = re.compile(r"\s*([0-9]+)x\s*([0-9]+)")
_NUMBERS: Final = ("channels-min", "channels-max", "buffer-size")


def read_vdispl(spec: str, note: Note = unnoted) -> Vdispl:
    """Read one item of ``vdispl``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if sign and name == "backend":
            said["backend"] = value
        elif sign and name == "be-alloc":
            said["be_alloc"] = switch(token, value, note)
        elif sign and name == "connectors":
            said["connectors"] = [_connector(word) for word in value.split(";") if word]
        else:
            raise SpecError(f"{quoted(token)} is not a setting of a display; backend, be-alloc and connectors are")
    if not said.get("connectors"):
        raise SpecError("connectors is missing; write connectors=ID:WIDTHxHEIGHT;…")
    return Vdispl(**said)


def _connector(word: str) -> Connector:
    unique_id, _, resolution = word.partition(":")
    found = _RESOLUTION.match(resolution)
    if not found or not unique_id:
        raise SpecError(f"{quoted(word)} is not a connector; write it like ID:WIDTHxHEIGHT")
    return Connector(unique_id, decimal(found[1]), decimal(found[2]))


def write_vdispl(vdispl: Vdispl) -> str:
    """Write one item of ``vdispl``, as far as the grammar has words for it."""
    connectors = ";".join(
        f"{one.unique_id}:{one.width}x{one.height}"
        for one in vdispl.connectors
        if one.unique_id and not set(one.unique_id) & set(",;:\n")
    )
    alloc = 1 if vdispl.be_alloc else None
    return joined([("backend", vdispl.backend), ("be-alloc", alloc), ("connectors", connectors or None)])


class _Level:
    """A card, PCM device or stream while it is read."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self.said: dict[str, Any] = {}
        self.params: dict[str, Any] = {}
        self.inner: list[_Level] = []

    def take(self, token: str, names: Iterable[str]) -> None:
        """Take one setting: of the names given, or one that every level has."""
        name, sign, value = token.partition("=")
        if sign and name == "sample-rates":
            rates = [number_or_zero(word, word, self._note) for word in value.split(";") if word]
            self.params["sample_rates"] = rates
        elif sign and name == "sample-formats":
            formats = [member(VsndPcmFormat, word, "sample format") for word in value.split(";") if word]
            self.params["sample_formats"] = formats
        elif sign and name in _NUMBERS:
            self.params[name.replace("-", "_")] = number_or_zero(token, value, self._note)
        elif sign and name == "type" and name in names:
            self.said["type"] = member(VsndStreamType, value, "type of stream")
        elif sign and name in names:
            self.said[name.replace("-", "_")] = value
        else:
            raise SpecError(f"{quoted(token)} is not a setting that can stand here")


def read_vsnd(items: Iterable[str], note: Note = unnoted) -> Vsnd:
    """Read one item of ``vsnd``, itself a list: ``["card, …", "pcm, …", "stream, …"]``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    card = _Level(note)
    for item in items:
        kind, *rest = tokens(item) or [""]
        level, names = _level(card, kind.lower() if kind else None, note)
        for token in rest:
            level.take(token, names)
    pcms = [
        VsndPcm(
            **pcm.said,
            params=VsndParams(**pcm.params),
            streams=[VsndStream(**stream.said, params=VsndParams(**stream.params)) for stream in pcm.inner],
        )
        for pcm in card.inner
    ]
    return Vsnd(**card.said, params=VsndParams(**card.params), pcms=pcms)


def _level(card: _Level, kind: str | None, note: Note) -> tuple[_Level, tuple[str, ...]]:
    if kind == "card" or kind is None:
        return card, ("backend", "short-name", "long-name")
    if kind == "pcm":
        card.inner.append(_Level(note))
        return card.inner[-1], ("name",)
    if kind == "stream":
        if not card.inner:
            card.inner.append(_Level(note))
        card.inner[-1].inner.append(_Level(note))
        return card.inner[-1].inner[-1], ("unique-id", "type")
    raise SpecError(f"a string cannot begin with {quoted(kind)}; it can begin with CARD, PCM or STREAM")


def write_vsnd(vsnd: Vsnd) -> list[str]:
    """Write one item of ``vsnd``, as far as the grammar has words for it."""
    names = [("backend", vsnd.backend), ("short-name", vsnd.short_name), ("long-name", vsnd.long_name)]
    items = [_item("CARD", names, vsnd.params)]
    for pcm in vsnd.pcms:
        items.append(_item("PCM", [("name", pcm.name)], pcm.params))
        items += [
            _item("STREAM", [("unique-id", stream.unique_id), ("type", stream.type)], stream.params)
            for stream in pcm.streams
        ]
    return items


def _item(kind: str, names: list[tuple[str, Any]], params: VsndParams) -> str:
    rest = joined([*names, *_params(params)])
    return f"{kind}, {rest}" if rest else kind


def _params(params: VsndParams) -> Iterator[tuple[str, Any]]:
    yield "sample-rates", ";".join(map(str, params.sample_rates)) or None
    yield "sample-formats", ";".join(params.sample_formats) or None
    for name in _NUMBERS:
        yield name, getattr(params, name.replace("-", "_")) or None
