"""The declarations taken from Xen's headers: nothing is missing from the binding, and C is split where it ends."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import cffi
import headers
import pytest
import xenlight
from headers import Declaration, declarations, select
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyxen.backends.xenlight.libxl import binding

# Every function of the installed headers is bound. They are counted here with regular expressions over the files as
# they lie there, by no means of headers.py's: no preprocessor, so whatever an #if leaves out is counted too.

OLDER_API = re.compile(r"_0x\d{6}$")
"""Forms of a function for callers of an older API version; the pinned version's are bound under the plain name."""

NOT_FOR_US = {
    "libxl_cpuid_apply_policy": "for callers of an API before 4.15",
    "libxl_cpuid_set": "for callers of an API before 4.15",
    "libxl_dt_overlay": "on Arm only",
    "libxl_dt_overlay_domain": "on Arm only",
}
"""What an ``#if`` leaves out."""

CANNOT_BE_EXPRESSED = {"xtl_logv": "takes a va_list"}
"""What cffi cannot."""


def include_folder() -> Path:
    question = ["pkg-config", "--variable=includedir", "xenlight"]
    return Path(subprocess.run(question, check=True, capture_output=True, text=True, timeout=60).stdout.strip())


def functions_in(text: str) -> dict[str, str]:
    """Return the functions that a header declares: name and prototype."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", "", text, flags=re.MULTILINE)
    braces = re.compile(r"\{[^{}]*\}")
    while braces.search(text):  # from the inside outwards
        text = braces.sub(";", text)
    found = {}
    for statement in (" ".join(part.split()) for part in text.split(";")):
        match = re.match(r"(?!typedef)[\w\s*]*?\b(\w+) ?\(", statement)
        if match:
            found[match[1]] = statement
    return found


def all_functions() -> dict[str, str]:
    folder = include_folder()
    # _libxl_types_json.h is not public: it is libxl_json.h's, which no program but libxl includes.
    names = [*headers.LIBXL_HEADERS, "_libxl_types.h"]
    found: dict[str, str] = {}
    for name in names:
        found |= functions_in((folder / name).read_text())
    return found


def test_every_function_is_bound_or_has_a_reason() -> None:
    functions = all_functions()
    assert len(functions) > 800
    missing = {name for name in functions if not hasattr(binding.lib, name)}
    older = {name for name in missing if OLDER_API.search(name)}
    assert all("inline" in functions[name] for name in older)
    assert all(hasattr(binding.lib, OLDER_API.sub("", name)) for name in older)
    assert {name for name in missing if "va_list" in functions[name]} == set(CANNOT_BE_EXPRESSED)
    left_out = missing & set(NOT_FOR_US)
    remaining = headers.preprocess("#include <libxl.h>\n", f"-DLIBXL_API_VERSION={headers.LIBXL_API_VERSION}")
    assert [name for name in left_out if re.search(rf"\b{name}\b", remaining)] == []
    assert missing == older | set(CANNOT_BE_EXPRESSED) | left_out


def test_the_selection_tells_what_it_omits() -> None:
    selection = xenlight.selection()
    assert selection.omitted == CANNOT_BE_EXPRESSED
    assert len(selection.functions) == len(set(selection.functions))
    expected = {name for name in all_functions() if hasattr(binding.lib, name)}
    assert set(selection.functions) == expected


def test_the_pinned_version_decides_what_a_name_means() -> None:
    # For callers of an API before 4.13 it took two parameters.
    takes = [argument.cname for argument in binding.ffi.typeof(binding.lib.libxl_domain_pause).args]
    assert len(takes) == 3
    assert "libxl_asyncop_how" in takes[2]


def test_the_release_is_that_of_the_headers() -> None:
    assert re.fullmatch(r"4\.\d+", headers.xen_release())
    assert headers.xen_release() == binding.release
    assert xenlight.module_name("4.20") == "pyxen.backends.xenlight.libxl._xenlight_4_20"


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    assert headers.compiler() == ["no-such-compiler", "-m64"]
    with pytest.raises(headers.HeadersNotFound, match="no C compiler: no-such-compiler"):
        headers.preprocess("int x;")


def test_no_headers() -> None:
    with pytest.raises(headers.HeadersNotFound, match=r"libxen-dev installed\?(.|\n)*no_such_header"):
        headers.preprocess("#include <no_such_header.h>\n")


def test_no_pkg_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(headers.HeadersNotFound, match="install libxen-dev and pkg-config"):
        headers.xen_release()
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PKG_CONFIG_LIBDIR", str(tmp_path))
    with pytest.raises(headers.HeadersNotFound, match="does not know xenlight"):
        headers.xen_release()


# Splitting.


def split(text: str) -> list[Declaration]:
    return list(declarations(f'# 1 "/usr/include/a.h" 1\n{text}\n'))


@pytest.mark.parametrize(
    ("text", "expected", "function"),
    [
        ("int f(void);", "int f(void);", "f"),
        ("const  char *\n f(int a,\n   int b) ;", "const char * f(int a, int b) ;", "f"),
        ("struct s { int a; struct { int b; } c; };", "struct s { int a; struct { int b; } c; };", None),
        ("typedef struct { int (*f)(int, void *); } s;", "typedef struct { int (*f)(int, void *); } s;", None),
        ("typedef int callback(int);", "typedef int callback(int);", None),
        ("typedef void (*callback)(void (*)(int));", "typedef void (*callback)(void (*)(int));", None),
        ("enum e { A = (1 << 2), B };", "enum e { A = (1 << 2), B };", None),
        ("extern const int table[];", "extern const int table[];", None),
        ("struct s *f(struct { int a; } *b);", "struct s *f(struct { int a; } *b);", "f"),
        ("void f(int (*callback)(int), int n);", "void f(int (*callback)(int), int n);", "f"),
        ("int f(void) __attribute__((noreturn));", "int f(void) ;", "f"),
        ("int f(char *, ...) __attribute__ ((format(printf,1,2))) __attribute__((pure));", "int f(char *, ...) ;", "f"),
        ("struct __attribute__((packed)) s { int a; };", "struct s { int a; };", None),
        ("__extension__ typedef long long ll;", "typedef long long ll;", None),
    ],
)
def test_one_declaration(text: str, expected: str, function: str | None) -> None:
    assert split(text) == [Declaration("a.h", expected, inline=False)]
    assert split(text)[0].function == function


@pytest.mark.parametrize(
    ("text", "prototype"),
    [
        ("static inline int f(int a) { return a; }", "int f(int a) ;"),
        ("static __inline__ int f(int a)\n{\n  if (a) { return 1; }\n  return g(a);\n}", "int f(int a) ;"),
        ("extern inline void f(void) {}", "void f(void) ;"),
        ("static inline int f(void) __attribute__((unused)) { for (;;) { } }", "int f(void) ;"),
        ("static inline struct s f(void) { struct s x = { 1, 2 }; return x; }", "struct s f(void) ;"),
    ],
)
def test_a_body_is_dropped_and_the_prototype_stays(text: str, prototype: str) -> None:
    first, second = split(f"{text}\nint after(void);")
    assert (first.text, first.inline, first.function) == (prototype, True, "f")
    assert second.text == "int after(void);"


def test_each_declaration_knows_its_header() -> None:
    text = '# 1 "/usr/include/libxl.h" 1 3 4\nint a;\n# 7 "/usr/include/stdio.h" 2\nint b; int\n# 9 "x/libxl.h"\nc;\n'
    assert [(item.header, item.text) for item in declarations(text)] == [
        ("libxl.h", "int a;"),
        ("stdio.h", "int b;"),
        ("libxl.h", "int c;"),
    ]


def test_several_on_a_line() -> None:
    text = "int a(void); static inline int b(void) { return 1; } struct c { int d; }; int e(void);"
    assert [item.function for item in split(text)] == ["a", "b", None, "e"]


WORDS = st.from_regex(r"[a-z]{1,8}_[a-z]{1,4}", fullmatch=True)
SPACE = st.sampled_from([" ", "\n", "\t", " \n  "])
PARAMETERS = st.lists(
    st.sampled_from(["int a", "const char *b", "void (*c)(int, char *)", "struct d *d", "int e[3]"]), max_size=4
)
MEMBERS = st.recursive(
    st.sampled_from(["int a;", "void (*f)(int, struct x *);", "unsigned b : 3;", "char c[4];"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"struct {{ {' '.join(parts)} }} n;"),
    max_leaves=6,
)
STATEMENTS = st.recursive(
    st.sampled_from(["return 0;", "int x = f((1));", ";", "struct s y = { 1, { 2 } };"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"if (a) {{ {' '.join(parts)} }}"),
    max_leaves=6,
)
ATTRIBUTES = st.sampled_from(["", " __attribute__((pure))", " __attribute__((format(printf, 1, 2)))"])


@st.composite
def declared(draw: st.DrawFn) -> tuple[str, str | None, bool]:
    """A declaration: the text, the function's name if it is one, and whether it has a body."""
    name, space = draw(WORDS), draw(SPACE)
    kind = draw(st.sampled_from(["prototype", "inline", "struct", "typedef", "enum"]))
    parameters = f",{space}".join(draw(PARAMETERS)) or "void"
    members = space.join(draw(st.lists(MEMBERS, min_size=1, max_size=3)))
    if kind == "prototype":
        return f"int *{space}{name}({parameters}){draw(ATTRIBUTES)};", name, False
    if kind == "inline":
        body = space.join(draw(st.lists(STATEMENTS, max_size=3)))
        return f"static inline int{space}{name}({parameters}){space}{{{space}{body}{space}}}", name, True
    if kind == "struct":
        return f"struct {name}{space}{{{members}}};", None, False
    if kind == "typedef":
        return f"typedef union{space}{{{members}}}{space}{name};", None, False
    return f"enum {name}{space}{{ {name}_A = (1 << (2)), {name}_B{space}}};", None, False


@settings(suppress_health_check=[HealthCheck.too_slow])  # a loaded machine is no fault
@given(st.lists(st.tuples(declared(), SPACE, st.sampled_from(["libxl.h", "other.h"]))))
def test_whatever_stands_side_by_side_is_told_apart(items: list[tuple[tuple[str, str | None, bool], str, str]]) -> None:
    text = "".join(f'\n# 1 "/x/{header}"\n{c}{space}' for (c, _, _), space, header in items)
    found = [(item.header, item.function, item.inline) for item in declarations(text)]
    assert found == [(header, name, inline) for (_, name, inline), _, header in items]
    for item in declarations(text):
        assert item.text.endswith(";")
        assert "__attribute__" not in item.text
        assert "return" not in item.text


# Selecting.


def chosen(text: str, macros: str = "") -> headers.Selection:
    return select(list(declarations(text)), ("libxl.h",), macros)


def test_only_what_stands_in_xens_headers_is_taken() -> None:
    markers = {"libxl.h": "int a(void);", "stdio.h": "int b(void);", "_libxl_types.h": "int c(void);"}
    selection = chosen("".join(f'# 1 "/usr/include/{name}"\n{text}\n' for name, text in markers.items()))
    assert selection.functions == ["a", "c"]
    assert selection.declarations == ["int a(void);", "int c(void);"]


def test_a_function_is_declared_once() -> None:
    selection = chosen('# 1 "libxl.h"\nint a(void);\nstatic inline int a(void) { return 1; }\n')
    assert selection.declarations == ["int a(void);"]


@pytest.mark.parametrize("list_type", ["va_list", "__builtin_va_list"])
def test_what_takes_a_va_list_is_left_out_and_named(list_type: str) -> None:
    selection = chosen(f'# 1 "libxl.h"\nvoid log({list_type} al);\nstruct s {{ void (*f)({list_type}); }};\n')
    assert selection.omitted == {"log": "takes a va_list"}
    assert selection.declarations == ["struct s;"]


def test_a_name_that_a_macro_turns_into_an_older_form_is_bound_with_its_parameters() -> None:
    text = '# 1 "libxl.h"\nint libxl_go(int a, int b);\nstatic inline int libxl_go_0x041200(int a) { return 0; }\n'
    selection = chosen(text, "#define libxl_go libxl_go_0x041200\n#define OTHER 1\n")
    assert "int libxl_go(int a) ;" in selection.declarations
    assert "int libxl_go(int a, int b);" not in selection.declarations


def test_selected_declarations_are_what_cffi_takes() -> None:
    text = (
        '# 1 "libxl.h"\ntypedef struct { int n; char **names; } list;\nint first(list *l, int (*f)(const char *));\n'
        "static inline int size(const list *l) { return l->n; }\nenum { ONE = 1, TWO };\n"
    )
    builder = cffi.FFI()
    builder.cdef("\n".join(chosen(text).declarations))
    fields = builder.typeof("list").fields
    assert fields is not None
    assert [name for name, _ in fields] == ["n", "names"]
