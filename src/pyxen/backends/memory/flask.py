"""Flask on a simulated host: off, unless a test turns it on."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyxen._common.flask_arguments import check_label, check_ssidref, without_flask
from pyxen._common.scripts import at_once
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation

__all__ = ["Flask", "label", "load_policy", "set_enforcing", "ssidref", "there"]


@dataclass(slots=True)
class Flask:
    """The state of the security module.

    Attributes:
        labels: Its labels, by their numbers.
        enforcing: Whether the policy is enforced.
        policies: The policies that were loaded.
    """

    labels: dict[int, str] = field(default_factory=dict)
    enforcing: bool = True
    policies: list[bytes] = field(default_factory=list)


def there(flask: Flask | None, verb: str) -> Flask:
    """Return the security module of a host that has one."""
    if flask is None:
        raise without_flask(verb, "memory")
    return flask


def label(flask: Flask | None, number: int) -> str:
    """Return a label in words."""
    check_ssidref(number)
    found = there(flask, "label").labels.get(number)
    if found is None:
        raise InvalidArgument(f"there is no label {number}", operation="label")
    return found


def ssidref(flask: Flask | None, text: str) -> int:
    """Return the number of a label."""
    check_label(text)
    labels = there(flask, "ssidref").labels
    number = next((number for number, one in labels.items() if one == text), None)
    if number is None:
        raise InvalidArgument(f"the policy has no label {text}", operation="ssidref")
    return number


@at_once
def set_enforcing(flask: Flask | None, _: Operation[None], mode: bool) -> None:
    """Set whether the policy is enforced."""
    there(flask, "set_enforcing").enforcing = mode


@at_once
def load_policy(flask: Flask | None, _: Operation[None], policy: bytes) -> None:
    """Replace the policy."""
    there(flask, "load_policy").policies.append(policy)
