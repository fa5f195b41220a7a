"""Hostile and broken configs, drawn: programs put together from what is not allowed, and broken texts."""

from __future__ import annotations

from hypothesis import strategies as st

Files = dict[str, bytes]

NAMES = ("x", "y", "dict", "list", "len", "_base_", "__builtins__", "open", "str", "self", "i")
HOSTILE = (
    "__import__('os').mkdir('{trap}')",
    "open('{trap}', 'w')",
    "().__class__.__base__.__subclasses__()",
    "'{0.__class__}'.format(1)",
    "'{x[0]}'.format(x=[1])",
    "(lambda: 0)()",
    "(x := 1)",
    "10 ** 10 ** 8",
    "'a' * 10 ** 10",
    "range(10 ** 12)",
    "[0] * 10 ** 9",
    "f'{1:9999999}'",
    "[i for i in range(10 ** 9)]",
    "{{ _base_.x }}",
    "'{{ _base_.x.__class__ }}'",
    "{{ _base_.y.0.z }}",
    "'{{ fileDirname }}'",
    "{{'$HOME:x'}}",
    "...",
    "1j",
    "float('nan')",
    "b'\\xff'",
)
HARMLESS = (
    "1",
    "-1",
    "3",
    "0.5",
    "'a'",
    "'%s'",
    "'{}'",
    "[]",
    "{}",
    "()",
    "None",
    "True",
    "[1, 'a']",
    "{'a': (1,)}",
    "x",
    "y",
)
leaves = st.sampled_from((*NAMES, *HOSTILE, *HARMLESS * 15))
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "@", "==", "<", "in", "is", "and", "or")
FUNCTIONS = (
    "dict",
    "list",
    "range",
    "sum",
    "len",
    "max",
    "sorted",
    "str",
    "int",
    "zip",
    "set",
    "tuple",
    "round",
    "eval",
)
METHODS = (
    "append",
    "extend",
    "update",
    "format",
    "join",
    "items",
    "split",
    "replace",
    "pop",
    "__class__",
    "insert",
    "copy",
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, max_size=3).map(", ".join)
    return (
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner)
        | st.builds("{}({})".format, st.sampled_from(FUNCTIONS), several)
        | st.builds("{}.{}({})".format, inner, st.sampled_from(METHODS), several)
        | st.builds("[{}]".format, several)
        | st.builds("({},)".format, inner)
        | st.builds("{{{}: {}}}".format, inner, inner)
        | st.builds("{{{}}}".format, inner)
        | st.builds("{}[{}]".format, inner, inner)
        | st.builds("{}[{}:{}]".format, inner, inner, inner)
        | st.builds("[{} for i in {} for y in {} if {}]".format, inner, inner, inner, inner)
        | st.builds("{{{}: 1 for i in {}}}".format, inner, inner)
        | st.builds("dict(**{}, x={})".format, inner, inner)
        | st.builds("[*{}, *{}]".format, inner, inner)
        | st.builds("({} if {} else {})".format, inner, inner, inner)
        | st.builds("f'{{{}!r:>{{{}}}}}'".format, inner, inner)
        | st.builds("not {}".format, inner)
    )


expressions = st.recursive(leaves, _grown, max_leaves=6)
statements = (
    st.builds("{} = {}".format, st.sampled_from(NAMES), expressions)
    | st.builds("{} += {}".format, st.sampled_from(NAMES), expressions)
    | st.builds("{}[{}] = {}".format, st.sampled_from(NAMES), expressions, expressions)
    | st.builds("x, *y = {}".format, expressions)
    | st.builds("{}".format, expressions)
    | st.builds("if {}:\n    x = {}\nelse:\n    y = {}".format, expressions, expressions, expressions)
    | st.sampled_from(
        ("import os", "from os import *", "for x in y: pass", "del x", "class x: pass", "\tx = 1", "x = '")
    )
)
based = st.sampled_from(
    ("_base_ = 'b.py'", "_base_ = ['b.py', 'c.yaml']", "_base_ = 'a.py'", "_base_ = ['../b.py']", "")
)
programs = st.builds(
    lambda base, lines: "\n".join([base, "x = [1]", "y = {'a': 1}", *lines]),
    based,
    st.lists(statements, min_size=1, max_size=4),
)

YAML_PIECES = (
    "x: ", "y:\n  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!python/name:os.system ", "!!set ", "!a ",
    "? ", "'", '"', "|\n ", "1", "0x1F", "1:30", "2020-01-01", "~", ".nan", "\n", "---\n", "{{ _base_.x }}", "@", "<<",
    "{{ fileDirname }}", "_base_: b.py\n", "# ", "\t", "\u00e9", "\x00", "%TAG", "=",
)  # fmt: skip
JSON_PIECES = (
    '{"x": ', '"y": ', "{", "}", "[", "]", ", ", '"', "1", "-1e5", "null", "NaN", "{{ _base_.x }}", "\\u0041", "\\",
    '"{{ fileDirname }}"', '"_base_": "b.py"', "\n", "\x00", "'", "01",
)  # fmt: skip


def _pieces(pieces: tuple[str, ...], whole: str) -> st.SearchStrategy[str]:
    several = st.lists(st.sampled_from(pieces), min_size=1, max_size=15).map("".join)
    return several | st.builds(whole.replace, st.just("1"), several)


@st.composite
def configs(draw: st.DrawFn) -> Files:
    """Draw a config with two bases, and damage its bytes now and then."""
    suffix = draw(st.sampled_from((".py", ".py", ".py", ".yaml", ".json")))
    source = {
        ".py": programs,
        ".yaml": _pieces(YAML_PIECES, "x: 1\ny: 1"),
        ".json": _pieces(JSON_PIECES, '{"x": 1, "y": [1]}'),
    }[suffix]
    content = draw(source).encode("utf-8", "surrogatepass")
    damage = draw(st.sampled_from(("none",) * 20 + ("cut", "insert", "crlf", "mark", "utf-16")))
    place = draw(st.integers(0, len(content)))
    if damage == "cut":
        content = content[:place]
    elif damage == "insert":
        content = content[:place] + draw(st.binary(min_size=1, max_size=3)) + content[place:]
    elif damage == "crlf":
        content = content.replace(b"\n", b"\r\n")
    elif damage == "mark":
        content = b"\xef\xbb\xbf" + content
    elif damage == "utf-16":
        content = content.decode("utf-8", "ignore").encode("utf-16")
    base = draw(st.sampled_from((b"x = [1, (2,)]\n", b"y = {'z': 1}\n", b"_base_ = 'a.py'\n", b"x = nothing\n")))
    return {f"a{suffix}": content, "b.py": base, "c.yaml": b"y: [{z: 1}]\n"}
