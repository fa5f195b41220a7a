"""Hostile and broken configs, made by hand. The config is the first file; `{trap}` is a file that must never be."""

from __future__ import annotations

import itertools
import re

Files = dict[str, bytes]

CODE = r"""
import os
import os; os.mkdir('{trap}')
from os import system as dict
x = open('{trap}', 'w')
x = __import__('os').mkdir('{trap}')
x = eval('open("{trap}", "w")')
x = exec('1')
x = compile('1', 'x', 'eval')
x = getattr(1, 'real')
x = globals()
x = __builtins__
x = ().__class__.__base__.__subclasses__()
x = [c for c in ().__class__.__mro__]
x = (lambda: 1)()
x = [].append.__self__
x = dict(__class__=1).__class__
x = print('x')
x = input()
x = breakpoint()
x = vars()
x = type('X', (), {})
x = object.__subclasses__()
x = str.format('{0.__class__}', 1)
x = str.maketrans('a', 'b')
x = '{0.__class__}'.format(1)
x = '{0[x]}'.format({'x': 1})
x = '{x.__class__.__init__.__globals__}'.format(**dict(x=1))
x = '{:{0.__class__}}'.format(1)
x = '{!r.__class__}'.format(1)
x = f'{().__class__}'
x = f'{().__class__!r:{().__class__}}'
x = '%(a.b)s' % dict(a=1)
x = '%c' % 1114112
x = str(b'x', 'idna')
x = 'x'.encode('idna')
x = b'x'.decode('zlib')
x = int.from_bytes(b'x')
x = sorted([1, 2], key=print)
x = max([1, 2], key=lambda v: v)
x = list(map(print, [1]))
x = [*map(open, ['{trap}'])]
x = (yield 1)
x = await y
x: int = 1
x = (y := 1)
x = [y := 1 for z in [1]]
@open('{trap}', 'w')\ndef f(): pass
def f(x=open('{trap}', 'w')): pass
class X(metaclass=print): pass
with open('{trap}', 'w') as x: pass
try: import os\nexcept: pass
for x in [1]: y = x
while 1: x = 1
match 1:\n    case 1: x = 1
assert open('{trap}', 'w')
raise ValueError
global x
del x
if open('{trap}', 'w'): x = 1
if 0: import os
x = 1 if 0 else __import__('os')
[].x = 1
x = y = z
x, x.y = 1, 2
dict = 1\nx = dict(a=1)
len = [1]\nx = len([2])
x = [list, dict]
x = {}.__getitem__('a')
x = ''.join
x = 'a'.format
x = {{ __import__('os') }}
x = {{ _base_.__class__ }}
x = '{{ _base_.__class__.__init__ }}'
_base_ = __file__
_base_ = open('{trap}', 'w')
_base_ = ['a.py', ().__class__]
_base_ = '{{ fileDirname }}/a.py'
_base_ = f'{().__class__}.py'
filename = 1
text = 1
pretty_text = 1
custom_imports = dict(imports=['os', 'antigravity'], allow_failed_imports=False)
x = {'__class__': 1, '__init__': 2, '__dict__': 3}
__import__ = 1\nx = __import__
__builtins__ = dict(open=1)\nx = open('{trap}', 'w')
__debug__ = 1
None = 1
x = `1`
exec 'x'
"""

BOMBS = r"""
x = range(10 ** 12)
x = list(range(10 ** 7))
x = 'a' * 10 ** 12
x = b'a' * 10 ** 12
x = [0] * 10 ** 12
x = (0,) * 10 ** 9
x = ((0,) * 1000,) * 1000
x = [[0] * 1000] * 1000
x = [[[0] * 100] * 100] * 100
x = 10 ** 10 ** 8
x = 2 ** 2 ** 2 ** 2 ** 2 ** 2
x = 1 << 1 << 40
x = (1 << 60000) * (1 << 60000)
x = 10.0 ** 1000
x = 9 ** 9 ** 9 % 7
x = (-2) ** 10 ** 9
x = 1 % 0
x = -1 << 10 ** 12
x = 1 >> 10 ** 30
x = round(1, -10 ** 9)
x = int('9' * 4000) ** 30
x = str(1 << 60000)
x = f'{1 << 60000}'
x = f'{1:999999999}'
x = f'{1:{"9" * 9}}'
x = '{:999999999}'.format(1)
x = '{:{}}'.format(1, 10 ** 9)
x = '%999999999d' % 1
x = '%.999999999f' % 1.0
x = '%*d' % (10 ** 9, 1)
x = [0 for a in range(1000) for b in range(1000) for c in range(1000)]
x = [[a] * 1000 for a in range(10000)]
x = {a: b for a in range(10000) for b in range(10000)}
x = sum([[0]] * 100000, [])
x = sum(range(10 ** 6))
x = ''.join(['a' * 1000] * 100000)
x = 'a'.join(['b'] * 999999)
x = ('a' * 999999).replace('a', 'b' * 999999)
x = ('a' * 999999).split('a')
x = list(zip(*[range(10 ** 6)] * 100))
x = list(enumerate([0] * 999999))
x = sorted([0] * 999999)
x = max([[0] * 1000] * 1000)
x = [0]; y = [x.append(z) for z in x]
x = [0]; x.extend(z for z in x)
x = [0]; y = [x.extend(x) for z in range(60)]
x = {}; y = [x.update({z: x.copy()}) for z in range(1000)]
x = []; x.append(x); y = str(x)
x = []; x.append(x); y = x == x
x = {}; x['x'] = x; y = [x]
x = []; y = [x.insert(0, z) for z in range(10 ** 6)]
x = [0] * 10; x[::2] = range(10 ** 9)
x = [0]; x *= 10 ** 9
x = 'a'; x += 'a' * 10 ** 9
x = 2; x **= 10 ** 9
x = {(1,) * 1000: 1}; y = [x[(1,) * 1000] for z in range(10 ** 6)]
x = [a for a in [b for b in [c for c in range(10 ** 6)]]]
x = ['a' * 1000000 for a in range(1000)]
x = [('a' * 10000).upper() for a in range(10000)]
x = set(range(10 ** 6)) | set(range(10 ** 6))
x = 0x«f*100000»
x = 9«9*5000»
x = «[*40000»
x = «(*200»«)*200»
x = «-*50000»1
x = «not *50000»1
x = 1«+1*50000»
x = a«.b*30000»
x = a«[0]*30000»
x = a«()*30000»
x = «f(*5000»
x = «{1:*5000»
x = 1« if 1 else 1*5000»
x = 1« and 1*50000»
x = 1« < 1*50000»
x = «lambda: *5000»1
x = [0« for a in [1]*3000»]
x = f'«f'{*200»
x = '«a*300000»'
«x = 1;*40000»
«x*100000» = 1; y = «x*100001»
x = [a«b*50000»]
x = {'«a*100000»': 1}['«a*100001»']
x = {}.«a*100000»()
x = «a*100000»()
x = '{«a*100000»}'.format(1)
x = {(1, 2): 1}[((1,) * 1000,) * 100]
_base_ = ['«../*300».py']
_base_ = 'a.py'; _deprecation_ = 1
x = [0, 0]; y = [x := 1]
«x = [[],[]]\n*20000»
"""

YAML = r"""
x: !!python/object/apply:os.mkdir ['{trap}']
x: !!python/object/new:os.mkdir ['{trap}']
x: !!python/object:os.Thing {}
x: !!python/name:os.system ''
x: !!python/module:antigravity ''
x: !<tag:yaml.org,2002:python/object/apply:os.system> ['x']
%TAG ! tag:yaml.org,2002:python/object/apply:\n---\nx: !os.system ['x']
x: !!python/bytes x
x: !!python/complex 1j
x: &a [*a]
x: &a {b: &c [*a]}
x: *nothing
x: {<<: *nothing}
<<: [1, 2]
? {a: 1}\n: 2
? [a]\n: 2
x: 1\n---\ny: 2
x: 1\n...\ny
x: \t- 1
x: 'unclosed
x: "\uD800"
x: @a
x: `a`
x: %a
- x
x
x: 1_000:99:99:99:99
x: «1:59*3000»
x: 0x«f*100000»
x: «9*100000»
x: 1«e1*100000»
x: !!float «9*6000»
x: !!int «:59*6000»
x: «[*30000»
x: «{a: *30000»
x: «- *3000»1
«? *3000»1
«- *30000»
x: «&a *1000»1
x: "«a*900000»"
x: [«a,*200000»]
x: |«\n a*100000»
«a: {}\n*30000»
x: «!*30000» 1
«#*900000»
x: 2020-99-99
x: !!timestamp x
x: !!binary ====
x: !!set [1]
x: {{ _base_.x }}
{{ _base_.x }}: 1
_base_: [a.yaml]
_base_: {x: 1}
_base_: 1
filename: 1
"""

JSON = r"""
{"x": «[*100000»
{"x": «{"a":*100000»
{"x": «[*200»1«]*200»}
{"x": «9*5000»}
{"x": -«9*5000»}
{"x": 1e«9*5000»}
{"x": "«a*900000»"}
{"x": [«0,*300000»0]}
{"x": [«[],*200000»0]}
«{*100000»
{"x": "«\u0041*100000»"}
{"x": "\ud800"}
{"x": '1'}
{"x": 1,}
{"x": NaN, "y": Infinity}
{"x": undefined}
{"x": 0x1}
{"x": 01}
{"x": {{ _base_.x }}}
{"x": {{ __import__('os') }}}
{{{ _base_.x }}: 1}
{"x": {{"{" }}}
{"x": 1}{"y": 2}
{"x": 1 /* c */}
["x"]
"x"
null
{"_base_": "a.json"}
{"_base_": ["a.json", null]}
{"_base_": {"x": 1}}
{"text": 1}
{"__class__": 1, "__init__": {}}
"""


def _chain(length: int, suffix: str, text: str, last: str) -> Files:
    """Make configs of one text, each based on the next one."""
    names = [f"a{suffix}", *(f"b{number}{suffix}" for number in range(length))]
    files = {name: text.replace("NEXT", after).encode() for name, after in itertools.pairwise(names)}
    return files | {names[-1]: last.encode()}


def _laughs(first: str, text: str, times: int) -> bytes:
    """Write YAML of twelve values, each of which holds the one before many times."""
    lines = [first]
    for letter in "bcdefghijklm":
        aliases = ", ".join([f"*{chr(ord(letter) - 1)}"] * times)
        lines.append(f"{letter}: &{letter} {text.replace('ALIASES', aliases)}")
    return "\n".join(lines).encode()


_RAW: dict[str, Files] = {
    "a NUL byte": {"a.py": b"x = 1\n\0"},
    "a NUL byte in YAML": {"a.yaml": b"x: 1\0\n"},
    "a NUL byte in JSON": {"a.json": b'{"x": "\0"}'},
    "no UTF-8": {"a.py": b"x = '\xff'"},
    "Latin-1 that says so": {"a.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'"},
    "UTF-8 that says UTF-7": {"a.py": b"# -*- coding: utf-7 -*-\nx = '+AGE-'"},
    "a coding that is code": {"a.py": b"# -*- coding: antigravity -*-\nx = 1"},
    "UTF-16": {"a.py": "x = 1".encode("utf-16")},
    "UTF-32 YAML": {"a.yaml": "x: 1".encode("utf-32")},
    "a mark in front": {"a.py": b"\xef\xbb\xbfx = 1\n"},
    "a mark in front of YAML": {"a.yaml": b"\xef\xbb\xbfx: 1\n"},
    "a mark in front of JSON": {"a.json": b'\xef\xbb\xbf{"x": 1}'},
    "two marks": {"a.py": b"\xef\xbb\xbf\xef\xbb\xbfx = 1\n"},
    "CRLF": {"a.py": b"x = [\r\n1,\r\n]\r\ny = '''a\r\nb'''\r\n"},
    "CR": {"a.py": b"x = 1\ry = 2\r"},
    "a form feed": {"a.py": b"\x0cx = 1\n\x0cy = 2"},
    "tabs and spaces": {"a.py": b"if 1:\n\tx = 1\n        y = 2\n"},
    "letters from right to left": {"a.py": "x = '\u202e1'\ny\u0660 = 2\n\u2112 = 3".encode()},
    "a long line": {"a.py": b"x = [" + b"1, " * 80_000 + b"]"},
    "many lines": {"a.py": b"\n" * 262_000 + b"x = 1"},
    "too many bytes": {"a.py": b"#" * 262_145},
    "too many bytes of YAML": {"a.yaml": b"#" * 1_048_577},
    "only a comment": {"a.py": b"# x = 1"},
    "empty": {"a.py": b""},
    "empty JSON": {"a.json": b""},
    "a loop": {"a.py": b"_base_ = 'b.py'", "b.py": b"_base_ = './a.py'"},
    "a loop of one": {"a.py": b"_base_ = 'a.py'"},
    "a loop over formats": {"a.py": b"_base_ = 'b.yaml'", "b.yaml": b"_base_: c.json", "c.json": b'{"_base_": "a.py"}'},
    "a loop that computes": {
        "a.py": b"_base_ = 'b.py'\nx = {{ _base_.x }} + 1",
        "b.py": b"_base_ = 'a.py'\nx = {{ _base_.x }} + 1",
    },
    "a base that is missing": {"a.py": b"_base_ = 'no.py'"},
    "a base that is secret": {"a.py": b"_base_ = '/etc/passwd'"},
    "a base that is secret, climbing": {"a.py": b"_base_ = '" + b"../" * 40 + b"etc/passwd'"},
    "a base in /proc": {"a.py": b"_base_ = '/proc/self/environ'"},
    "a base that is a device": {"a.py": b"_base_ = '/dev/zero'"},
    "a base with a NUL": {"a.py": b"_base_ = 'b\\0.py'"},
    "a base with a long name": {"a.py": b"_base_ = 'b' * 100000 + '.py'"},
    "a base that is a URL": {"a.py": b"_base_ = 'http://127.0.0.1:9/a.py'"},
    "a base with surrogates": {"a.py": b"_base_ = '\\ud800.py'"},
    "a base that is the folder": {"a.py": b"_base_ = '.'"},
    "a base of the home folder": {"a.py": b"_base_ = '~/b.py'"},
    "bases without number": {"a.py": b"_base_ = ['b.py'] * 1000000", "b.py": b""},
    "bases that multiply": _chain(30, ".py", "_base_ = ['NEXT', 'NEXT', 'NEXT']", ""),
    "a chain of bases": _chain(150, ".py", "_base_ = 'NEXT'", "x = 1"),
    "a chain of bases that computes": _chain(90, ".py", "_base_ = 'NEXT'\nx = {{ _base_.x }} + 1", "x = 1"),
    "templates that double": _chain(60, ".py", "_base_ = 'NEXT'\nx = [{{ _base_.x }}, {{ _base_.x }}]", "x = [0]"),
    "texts that double": _chain(60, ".yaml", "_base_: NEXT\nx: '{{ _base_.x }}{{ _base_.x }}'", "x: abc"),
    "values that nest": _chain(50, ".json", '{"_base_": "NEXT", "x": [[[{{ _base_.x }}]]]}', '{"x": 1}'),
    "many templates": {"a.yaml": b"x: '" + b"{{ fileDirname }}" * 50_000 + b"'"},
    "many templates of Python": {"a.py": b"x = '" + b"{{ fileDirname }}" * 15_000 + b"'"},
    "large files in number": {"a.py": b"_base_ = ['b.py', 'c.py', 'd.py']"}
    | {f"{name}.py": b"#" * 250_000 for name in "bcd"},
    "a syntax tree as large as can be": {"a.py": b"x=[" + b"[]," * 87_000 + b"]"},
    "names as many as can be": {"a.py": b"a=0\n" * 65_000},
    "laughs": {"a.yaml": _laughs("a: &a [x, x, x]", "[ALIASES]", 9)},
    "laughs by merging": {
        "a.yaml": _laughs("a: &a {" + ", ".join(f"k{n}: 1" for n in range(99)) + "}", "{<<: [ALIASES]}", 99)
    },
    "a notice that laughs": {"a.py": b"x = [0, 0]\n" + b"x = [x, x]\n" * 40 + b"_deprecation_ = dict(expected=x)"},
    "many names, and none of them": {"a.py": b"".join(b"name%d=0\n" % n for n in range(20_000)) + b"x = nam"},
    "long names that clash": {
        "a.py": b"_base_ = ['b.yaml', 'c.yaml']",
        "b.yaml": b"? '" + b"k" * 100_000 + b"'\n: 1",
        "c.yaml": b"? '" + b"k" * 100_000 + b"'\n: 2",
    },
    "a long name that cannot be merged": {
        "a.py": b"_base_ = 'b.yaml'\nx = {'" + b"k" * 200_000 + b"': {'a': 1}}",
        "b.yaml": b"x: {? '" + b"k" * 200_000 + b"' : 1}",
    },
    "a long name with a hostile value": {"a.py": b"k" * 200_000 + b" = zip()"},
    "laughs over bases": {
        "a.py": b"_base_ = 'b.yaml'\nx = [{{ _base_.a }}] * 1000000",
        "b.yaml": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    },
}  # fmt: skip


def corpus() -> dict[str, Files]:
    """Give all cases by name."""
    cases = {}
    for suffix, texts in {".py": CODE + BOMBS, ".yaml": YAML, ".json": JSON}.items():
        for number, line in enumerate(texts.strip().splitlines()):
            if line:
                cases[f"{suffix} {number}: {line:.50}"] = {f"a{suffix}": _grown(line).encode()}
    return cases | _RAW


def _grown(line: str) -> str:
    """Write `«text*1000»` out, and line breaks."""
    line = line.replace("\\n", "\n")
    return re.sub("«(.+?)\\*([0-9]+)»", lambda found: found[1] * int(found[2]), line, flags=re.DOTALL)
