"""Write docs/command.md, the page of the command ``pyxen``, from the command itself."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer.main

from pyxen.cli import status
from pyxen.cli.app import COMMANDS, GROUPS, app
from tools import libxl_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "command.md"

INTRODUCTION = """\
# The command

`pyxen` does what `xl` does, with xl's names and habits, on every way to a host: `pip install 'pyxen[cli]'`.
`python -m pyxen` is the same. `pyxen --version` says which Xen releases the extension is built for.

```sh
pyxen list                                       # this machine, as root in dom0
pyxen --uri xen+ssh://root@host2/system list     # another one, through libvirt
pyxen --uri memory:///demo list                  # no Xen at all: a simulated host
```

- `--uri` stands before or after the name of a command. Without it, the environment's `PYXEN_URI` counts, and then this
  machine. A host in memory lives as long as the call: each call finds a new one, with dom0 and no guests. What is about
  this machine itself has no `--uri`, and `PYXEN_URI` does not count: `convert`, `lint`, `doctor`, `devd`, `image`,
  `autostart enable` and `autostart disable`.
- `PYXEN_XL_CONF=/etc/xen/xl.conf` lets commands on this machine honour the settings of `xl` as `xl` does: its defaults
  for vifs and grant tables, `autoballoon`, `claim_mode`, CPU masks and `lockfile`. Unasked, none of them counts. They
  count for `supervise` and `migrate-receive`, too, and not for what `serve` does for other programs.
- A domain is named by its name, domid or uuid, and a CPU pool by its name or number. A number is never a name, as for
  nearly all of xl: only `xl domid` takes any argument for a name, and `xl cpupool-list` tries the name first.
- What loses data asks first: `destroy`, `block-detach --force`, `shutdown --all`, `xenstore rm` and the like. Where
  there is no terminal to ask on, as in a script, it does nothing, and the exit status is 7: `--yes` goes on.
- dom0 is never paused, shut down or destroyed.
- `save`, `restore`, `migrate` and `dump-core` show a bar if standard error is a terminal.
- Ctrl-C cancels what runs, and waits for its end. The message says "undone" where it was undone, as a create, a save or
  a migration is; elsewhere it says what stays, as a guest that was asked to shut down. A second Ctrl-C does not wait.
- Tables are for people, and their columns may change. `--json` is for programs: one document a call, or one a line
  where events follow each other. Keys may be added, and none is renamed or removed within a major version. The names in
  "JSON" are classes of the [reference](reference.md), and their fields are the keys. With `--json` a document has the
  passwords that its record has.
- Results are on standard output, messages on standard error.
- Names, log lines and values of xenstore may come from guests. Whatever would control the terminal is shown escaped,
  as `\\x1b`. `console` and `xenstore read --raw` write what is there, and so do
  `config show`, `convert` and `image` into a file or a pipe.

Commands, options, and the names of domains and CPU pools are completed after

```
eval "$(pyxen completion bash)"                  # or zsh
pyxen completion fish | source
```
"""

_NOT_BEHIND: Final = "pyxen waits for no domain in the background: `pyxen supervise` restarts all of them"
_ITS_LOG: Final = "a failure shows the lines of libxl's log by itself"
_AS_ARGUMENT: Final = "the file is an argument"
_COLO: Final = "a part of COLO: see `xl remus -c`"
_IGNORED: Final = "xl ignores it, too"
_NO_MASKS: Final = "the masks of xl.conf count only if `PYXEN_XL_CONF` names it"

XL_OPTIONS: Final = {
    "config-update -d": "`create --dryrun` prints a configuration",
    "config-update -f": _AS_ARGUMENT,
    "config-update -q": _IGNORED,
    "console -e": "the key that leaves is Ctrl-]",
    "cpupool-create -f": _AS_ARGUMENT,
    "create --ignore-global-affinity-masks": _NO_MASKS,
    "create -F": _NOT_BEHIND,
    "create -d": _ITS_LOG,
    "create -e": _NOT_BEHIND,
    "create -f": _AS_ARGUMENT,
    "create -i": _NO_MASKS,
    "destroy -f": "dom0 is never destroyed",
    "info -x": "no verb depends on the features of xenstored",
    "migrate --debug": _ITS_LOG,
    "migrate --live": _IGNORED,
    "migrate -F": _NOT_BEHIND,
    "migrate -e": _NOT_BEHIND,
    "migrate-receive --colo": _COLO,
    "migrate-receive --coloft-script": _COLO,
    "migrate-receive --userspace-colo-proxy": _COLO,
    "remus -c": libxl_table.table()["option"]["remus -c"],
    "remus -e": _NOT_BEHIND,
    "remus -p": _COLO,
    "remus -u": "libxl does not compress, whatever it says",
    "restore -F": _NOT_BEHIND,
    "restore -c": "`pyxen console` attaches the terminal afterwards",
    "restore -d": _ITS_LOG,
    "restore -e": _NOT_BEHIND,
    "uptime -s": "the table is short already",
    "vcpu-pin --ignore-global-affinity-masks": _NO_MASKS,
    "vcpu-pin -i": _NO_MASKS,
    "vcpu-set -i": "there is no such limit here",
    "vncviewer -autopass": "`--autopass`",
}
"""What pyxen has for the options of xl that its commands do not have by that name."""

_EVERYWHERE: Final = {"--help", "--uri"}
"""Options that the introduction describes."""


def statuses() -> dict[str, tuple[int, str]]:
    """Return the exit statuses: number and meaning by name."""
    tree = ast.parse(inspect.getsource(status.ExitStatus))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found = {}
    for pair in itertools.pairwise(body):
        match pair:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=text)):
                found[name] = (int(status.ExitStatus[name]), " ".join(str(text).split()))
            case _:
                pass
    return found


ARGUMENTS = """\
Arguments differ in these places:

- `xl block-list`, `xl network-list` and the other lists of devices take several domains, and those here take one.
- `xl pci-detach` takes all that `pci-attach` does, and `pyxen pci-detach` an address.
- `xl sched-rtds` sets nothing without `-v`, and needs `-p`, `-b` and `-e` together. Here, no `-v` means the domain's
  own values, and what is left out stays.
- `xl create --vncviewer` starts its viewer whether the guest has a screen or not. Here, a guest whose configuration has
  none is not created.
- `xl cpupool-create` prints what it makes, and `pyxen cpupool-create` does so with `--dryrun` only.
- A word of `xl info NAME` that xl does not know prints nothing, and here it is an error."""


def page() -> str:
    """Return the page."""
    lines = [INTRODUCTION, "## Exit statuses", "", "| status | meaning |", "| --- | --- |"]
    lines += [f"| {number} | {_cell(text)} |" for number, text in statuses().values()]
    lines += [
        "",
        "`convert`, `lint`, `doctor`, `supervise`, `exporter`, `devd` and `migrate-receive` have their own: see below.",
    ]
    root: Any = typer.main.get_command(app)
    for subject, commands in COMMANDS.items():
        lines += ["", f"## {subject}"]
        for name in commands:
            lines += _command(name, root.commands[name])
    for group, (what, commands) in GROUPS.items():
        lines += ["", f"## pyxen {group}", "", what]
        for name in commands:
            lines += _command(f"{group} {name}", root.commands[group].commands[name])
    lines += [
        "",
        "## Options of xl",
        "",
        "Every subcommand that xl has until Xen 4.21 is a command here. These options of theirs are not:",
        "",
    ]
    lines += ["| xl | pyxen |", "| --- | --- |"]
    lines += [f"| `xl {option}` | {_cell(text)} |" for option, text in XL_OPTIONS.items()]
    lines += ["", ARGUMENTS]
    return "\n".join(lines) + "\n"


def parameters(command: Any) -> tuple[list[Any], list[Any]]:
    """Return the arguments and the options of a command, without those that all have."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not _EVERYWHERE & {*each.opts}]
    return arguments, options


def _command(name: str, command: Any) -> Iterator[str]:
    arguments, options = parameters(command)
    yield from ("", f"### pyxen {name}", "", "```text")
    yield " ".join(["pyxen", name, "[OPTION]...", *map(place, arguments)])
    yield from ("```", "")
    yield _code(inspect.cleandoc(command.help))
    rows = [(f"`{metavar(each)}`", each.help) for each in arguments if each.help]
    rows += [(_option(each), each.help) for each in options]
    if rows:
        yield from ("", "| | |", "| --- | --- |")
        yield from (f"| {_cell(first)} | {_cell(_code(text or ''))} |" for first, text in rows)


def metavar(param: Any) -> str:
    """Return what a page calls an argument, or the value of an option."""
    return str(param.metavar or max(param.opts, key=len).lstrip("-").upper())


def place(argument: Any) -> str:
    """Return an argument in the usage: in brackets if it may be left out, with dots if there may be several."""
    name = metavar(argument)
    several = argument.nargs == -1
    shown = name if argument.required else f"[{name}]"
    return f"{{{shown}}}..." if several and " " in shown else f"{shown}..." if several else shown


def _option(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} `{metavar(param)}`"


def _code(text: str) -> str:
    """Return a text of a docstring as Markdown."""
    return text.replace("``", "`").replace("*", "\\*").replace("<", "\\<")


def _cell(text: str) -> str:
    """Return Markdown as a cell of a table."""
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
