"""What Sphinx is told about the API: public names, types as a user sees them, and what is known of each setting.

An extension of ``docs/conf.py``. autodoc shows an object as it is defined; a user knows it by its public name.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autosummary import autosummary_toc
from sphinx.pycode import ModuleAnalyzer

from pyxen.config import Part, settings_of
from pyxen.config.base import Setting
from tools.public_names import MODULES, by_home
from tools.xl_keys import unit

_GUESTS: Final = {"hvm": "HVM", "pv": "PV", "pvh": "PVH"}

_NOT_OURS: Final = re.compile(r"(?!pyxen\b)[A-Za-z_][\w.]*|'.*'")
"""Names that belong to Python or to another package, and literals. They are shown, and not linked."""


def show_held_types(_: Sphinx) -> None:
    """Show what a field of a configuration holds: ``Coerced[X, Y]`` is X when read, and Y for type checkers only."""
    for kind in parts():
        for name, annotation in kind.__annotations__.items():
            if isinstance(annotation, str) and annotation.startswith("Coerced["):
                held, _given = ast.parse(annotation, mode="eval").body.slice.elts  # type: ignore[attr-defined]  # X, Y
                kind.__annotations__[name] = ast.unparse(held).replace("uuids.", "")  # a field has the module's name


def parts(kind: type[Part] = Part) -> Iterator[type[Part]]:
    """Yield the classes of configurations and of their parts."""
    for inner in kind.__subclasses__():
        if dataclasses.is_dataclass(inner):
            yield inner
        yield from parts(inner)


def shorten_signature(
    _app: Sphinx, what: str, _name: str, value: Any, _options: Any, signature: str | None, _returns: str | None
) -> tuple[str, None] | None:
    """Show how a user makes an object, and nothing of classes whose objects only pyxen makes.

    Of a configuration, only the parameters without a keyword are shown: the others are its attributes.
    """
    if what == "exception":
        return None if signature is None else ("", None)
    if what != "class" or not inspect.isclass(value):
        return None
    if issubclass(value, Part):
        parameters = inspect.signature(value).parameters.values()
        shown = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        keywords = any(each.kind is each.KEYWORD_ONLY for each in parameters)
        return f"({', '.join([*shown, *(['**settings'] if keywords else [])])})", None
    return ("", None) if dataclasses.is_dataclass(value) or _takes_inner(value) else None


def _takes_inner(kind: type[Any]) -> bool:
    """Return whether a constructor takes objects of classes that are not public."""
    try:
        hints = typing.get_type_hints(kind.__init__)
    except NameError:  # a name that is there for type checkers only
        return True
    return any(_is_hidden(each) for hint in hints.values() for each in _within(hint))


def _within(hint: Any) -> Iterator[Any]:
    """Yield a type, and the types within it."""
    yield hint
    for each in typing.get_args(hint):
        yield from _within(each)


def _is_hidden(kind: Any) -> bool:
    home = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
    return inspect.isclass(kind) and home.startswith("pyxen.") and home not in by_home()


def keep_whole(_app: Sphinx, what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Keep Napoleon from reading what is before a colon as a type: all types are annotations.

    It looks for one in the first line of an attribute's docstring, and of what is returned; that is a comment now.
    """
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]
    for place, line in enumerate(lines):
        if line.strip() in ("Returns:", "Yields:") and place + 1 < len(lines):
            indent = re.match(r" *", lines[place + 1])
            lines[place + 1 : place + 1] = [f"{indent[0] if indent else ''}..", ""]
            return


def tell_types(_app: Sphinx, what: str, _name: str, value: Any, _options: Any, lines: list[str]) -> None:
    """Add the types of attributes that a class documents in its own docstring, and that its constructor sets."""
    if what not in ("class", "exception") or not any(line.startswith(".. attribute::") for line in lines):
        return
    types = dict(_types(value))
    for place in range(len(lines) - 1, -1, -1):
        found = re.fullmatch(r"\.\. attribute:: (\w+)", lines[place])
        after = next((line for line in lines[place + 1 :] if line.strip()), "")
        if found and found[1] in types and not after.strip().startswith(":type:"):
            lines.insert(place + 1, f"   :type: {types[found[1]]}")


def _types(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Yield names and types: of ``self.x = x`` with the parameter's annotation, and of ``self.x = Class(...)``."""
    for base in reversed(kind.__mro__):
        constructor = vars(base).get("__init__")
        if not inspect.isfunction(constructor) or constructor.__code__.co_filename.startswith("<"):
            continue  # it has none, or one that dataclasses has made
        given = inspect.get_annotations(constructor)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(constructor)))):
            match node:
                case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Name(source)) if source in given:
                    yield name, str(given[source])
                case ast.Assign([ast.Attribute(ast.Name("self"), name)], ast.Call(ast.Name(made))):
                    if inspect.isclass(constructor.__globals__.get(made)):
                        yield name, made
    for name, found in inspect.getmembers(kind, lambda each: isinstance(each, property)):
        said = inspect.get_annotations(found.fget).get("return") if found.fget else None
        if said:
            yield name, str(said)


def find_docstring(_app: Sphinx, what: str, name: str, value: Any, _options: Any, lines: list[str]) -> None:
    """Take the docstring of a constant from the module that defines it, instead of the one of its type."""
    if what != "data" or lines != [*inspect.cleandoc(type(value).__doc__ or "").splitlines(), ""]:
        return
    lines.clear()
    short = name.rpartition(".")[2]
    for module in [each for each in sys.modules.copy() if each.startswith("pyxen.")]:
        if vars(sys.modules[module]).get(short) is value:
            lines += ModuleAnalyzer.for_module(module).find_attr_docs().get(("", short), [])


def tell_setting(_app: Sphinx, what: str, name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Add what the tables know of a setting of a configuration: unit, guests, releases, and its key in xl.cfg."""
    owner, _, field = name.rpartition(".")
    module, _, class_name = owner.rpartition(".")
    kind = getattr(sys.modules.get(module), class_name, None)
    if what != "attribute" or not inspect.isclass(kind) or not issubclass(kind, Part):
        return
    known = settings_of(kind).get(field)
    facts = [] if known is None else list(_facts(known))
    if facts:
        lines += ["", f"*{' · '.join(facts)}*", ""]


def _facts(known: Setting) -> Iterator[str]:
    if unit(known):
        yield f"in {unit(known)}"
    if known.guests:
        yield f"{', '.join(_GUESTS[guest] for guest in sorted(known.guests))} only"
    if known.since:
        yield f"since Xen {known.since}"
    if known.until:
        yield f"until Xen {known.until}"
    if known.key:
        yield f"xl.cfg: {known.key}"


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Link a name that autodoc, or a docstring of another module, writes in its own way."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    domain = env.get_domain("py")
    for name in _candidates(target):
        found = domain.resolve_xref(env, str(node["refdoc"]), app.builder, "obj", name, node, content)
        if found is not None:
            return found
    shown = _NOT_OURS.fullmatch(target) and not _is_public(target)
    return content if shown or _is_inner(target) else None


def _is_inner(target: str) -> bool:
    """Return whether a name is that of something that is there and not public, such as a type variable."""
    module, _, name = target.rpartition(".")
    return hasattr(sys.modules.get(module), name)


def _candidates(target: str) -> Iterator[str]:
    names = by_home()
    home, _, member = target.rpartition(".")
    for name in (target, f"pyxen.{target}"):
        if name in names:
            yield names[name]
    if home in names:
        yield f"{names[home]}.{member}"
    for module in (*MODULES, "pyxen.begin"):
        yield f"{module}.{target}"


def _is_public(target: str) -> bool:
    """Return whether a name begins with one of pyxen's, so that it should have been found."""
    first = target.partition(".")[0]
    return any(public.rpartition(".")[2] == first for public in by_home().values())


def leave_out_of_sidebar(_app: Sphinx, tree: nodes.document) -> None:
    """Keep the pages of classes out of the tree of contents: each page of the site would list all of them."""
    for each in list(tree.findall(autosummary_toc)):
        each.parent.remove(each)


def unlink_type(_app: Sphinx, tree: nodes.document) -> None:
    """Keep Python's ``type`` in annotations from being linked to one of the many fields called so."""
    for each in list(tree.findall(pending_xref)):
        if each.get("reftarget") == "type" and each.get("reftype") == "class":
            each.replace_self(each.children)


def list_members_of_enums(_app: Sphinx, _what: str, _name: str, value: Any, _skip: bool, _options: Any) -> bool | None:
    """List the members of an enumeration, also those that need no words."""
    return False if isinstance(value, enum.Enum) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it; Sphinx calls this."""
    app.connect("builder-inited", show_held_types, priority=100)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", find_docstring, priority=300)
    app.connect("autodoc-process-docstring", keep_whole, priority=400)  # before Napoleon
    app.connect("autodoc-process-docstring", tell_types, priority=600)  # after it
    app.connect("autodoc-process-docstring", tell_setting, priority=600)
    app.connect("doctree-read", leave_out_of_sidebar, priority=100)  # before Sphinx collects the tree
    app.connect("doctree-read", unlink_type)
    app.connect("autodoc-skip-member", list_members_of_enums)
    app.connect("missing-reference", find_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
