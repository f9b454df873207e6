"""What many hosts answer to one call: a value or an error from each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

__all__ = ["Answer", "Answers"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What one host answered: a value, or the error that the call failed with."""

    _value: T | None
    error: Exception | None = None
    """The error; None if the call succeeded."""

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.error is None

    @property
    def value(self) -> T:
        """What the call returned. If it failed, this raises its error."""
        if self.error is not None:
            raise self.error
        return cast("T", self._value)


class Answers(Mapping[str, Answer[T]]):
    """The answers of all hosts by name, in the order of the hosts, as `pyxen.Hosts` returns them."""

    def __init__(self, answers: Mapping[str, Answer[T]]) -> None:
        self._answers = dict(answers)

    def __getitem__(self, name: str) -> Answer[T]:
        return self._answers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"<Answers of {len(self)} hosts, {len(self.errors)} failed>"

    @property
    def succeeded(self) -> dict[str, T]:
        """What the call returned, of each host where it succeeded."""
        return {name: answer.value for name, answer in self._answers.items() if answer.ok}

    @property
    def errors(self) -> dict[str, Exception]:
        """The error of each host where the call failed."""
        return {name: answer.error for name, answer in self._answers.items() if answer.error is not None}

    def check(self) -> dict[str, T]:
        """Return what all hosts returned, or raise the errors of those that failed, as a group.

        Raises:
            ExceptionGroup: The call failed on some hosts. ``except*`` selects among their errors; each has a note with
                the name of its host.
        """
        errors = self.errors
        if not errors:
            return self.succeeded
        for name, error in errors.items():
            note = f"on the host {name}"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        message = f"{len(errors)} of {len(self)} hosts failed: {', '.join(errors)}"
        raise ExceptionGroup(message, list(errors.values()))
