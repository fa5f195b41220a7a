"""The grammar of a config file: what is read, and what is refused with which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks.config import Config
from mmhooks.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def read(text):
        file = tmp_path / "cfg.py"
        file.write_text(text, encoding="utf-8")
        return Config.fromfile(file).to_dict()

    return read


@pytest.fixture
def refusal(read, tmp_path):
    def refusal(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        message = str(caught.value)
        prefix = f"{tmp_path / 'cfg.py'}:"
        assert message.startswith(prefix)
        return message.removeprefix(prefix)

    return refusal


def same(left, right):
    """Equal, with the types and the order of keys equal too."""
    return repr(left) == repr(right)


# Each of these is Python, so Python itself says what the values must be.
PROGRAMS = {
    "literals": "a = 1; b = -2.5e3; c = 'x'; d = b'y'; e = None; f = True; g = 1_000; h = 0x1F; i = 2j",
    "displays": "a = [1, 2]; b = (3,); c = {4: [5]}; e = (); f = {}; g = {1}",
    "spread": "a = [1, 2]; b = [0, *a, *range(2)]; c = (*a,); d = {**{'x': 1}, 'y': 2}; e = {*a}",
    "calls": "a = dict(x=1, **dict(y=2)); b = dict([('k', 1)], z=3); c = dict({'q': 1}); d = list('ab')",
    "calls with stars": "v = [0, 6, 2]; a = list(range(*v)); kw = dict(reverse=True); b = sorted(v, **kw)",
    "any name as a keyword": ("a = dict(budget=1, self=2, args=3); b = '{budget}{self}'.format(budget=1, self=2)"),
    "unpacking": "a, b = 1, 2; c, *d, e = [1, 2, 3, 4]; [f, (g, h)] = 5, 'xy'",
    "chained assignment": "a = b = []; a.append(1)",
    "augmented": (
        "a = [1]; b = a; a += (2,); c = 3; c *= 4; d = {'k': 1}; d['k'] += 1; d |= {'m': 2}; e = 'x'; e += 'y'"
    ),
    "an alias is changed": "a = [[1]]; b = a[0]; b.extend([2]); c = a + [3]; c += [4]",
    "item assignment": "a = {}; a['x'] = 1; a['y'] = {}; a['y']['z'] = 2; b = [1, 2]; b[0] = 9; b[1:] = (7, 8)",
    "if": "x = 3\nif x > 5:\n    y = 1\nelif x == 3:\n    y = 2\nelse:\n    y = 3",
    "conditional": "a = 1 if 2 > 1 else 1 / 0; b = 1 / 0 if [] else 2",
    "boolean": "a = 0 or 'x'; b = 1 and []; c = not 1; d = None or 0 or False; e = 0 and 1 / 0",
    "compare": (
        "a = 1 < 2 < 3; b = 1 < 1 < 1 / 1; c = 2 in [1, 2]; d = 'b' not in 'abc'; e = None is None; f = 'k' in {'k': 1}"
    ),
    "arithmetic": (
        "a = 7 // 2; b = 7 % 4; c = 2 ** 10; d = 2 ** -1; e = 1 << 4; f = 6 >> 1; g = 6 & 3 | 8 ^ 1; h = ~5; "
        "i = +1 - -1"
    ),
    "sequences": "a = [1] * 3; b = 2 * 'xy'; c = (1,) + (2,); d = [0] * -1",
    "sets": "a = {1, 2} | {3}; b = {1, 2} - {2}; c = {1} & {1}; d = {1: 2} | {3: 4}",
    "slices": (
        "a = [1, 2, 3, 4]; b = a[1:]; c = a[::-1]; d = 'abc'[-1]; e = a[:2][0]; f = {'k': [5]}['k'][0]; "
        "g = range(9)[2:4]"
    ),
    "comprehensions": (
        "a = [i * j for i in range(3) if i for j in (1, 2)]; b = {k: v for k, v in dict(x=1).items()}; "
        "c = {i % 2 for i in range(4)}"
    ),
    "scopes": "i = 7; a = [i for i in range(3)]; b = i; c = [[i + j for j in range(i)] for i in range(3)]",
    "generators": (
        "a = sum(i for i in range(4)); b = list(i for i in 'ab'); c = max((i, -i) for i in range(3)); "
        "d = dict((i, i) for i in range(2))"
    ),
    "functions": (
        "a = len('abc'); b = round(2.567, 1); c = round(2.5); d = min(3, 1); e = max([1, 5]); f = abs(-1); "
        "g = sorted([3, 1]); h = list(reversed([1, 2]))"
    ),
    "conversions": (
        "a = float('1e3'); b = int('7'); c = str([1, 'x']); d = bool([]); e = int('ff', 16); f = tuple([1]); "
        "g = set(); h = int(2.9)"
    ),
    "enumerate and zip": (
        "a = [i + x for i, x in enumerate([5, 6], 1)]; b = list(zip('ab', [1, 2])); c = dict(zip('ab', [1, 2]))"
    ),
    "sum": ("a = sum([1, 2.5]); b = sum([[1], [2]], []); c = sum([], 5); d = sum([0.1] * 10); e = sum([(1,)], (0,))"),
    "list methods": ("a = [1]; a.append(2); a.insert(0, 0); a.extend([3, 4]); b = a.pop(); c = a.copy(); c.append(9)"),
    "dict methods": (
        "a = dict(x=1); a.update(y=2); a.update({'z': 3}); b = a.get('q', 5); c = a.pop('x'); "
        "d = a.pop('x', 6); e = list(a.keys()) + list(a.values()); f = a.copy()"
    ),
    "text methods": (
        "a = ','.join(['x', 'y']); b = 'a b'.split(); c = 'a-b'.split('-', 1); "
        "d = 'aa'.replace('a', 'b', 1); e = 'x'.upper() + 'Y'.lower(); "
        "f = 'ab'.startswith('a'), 'ab'.endswith(('b', 'c'))"
    ),
    "format": (
        "a = '{} {:>4} {x!r}'.format(1, 2, x='y'); b = '{0}{1}{0}'.format('p', 'q'); "
        "c = '{:{}.{}f}'.format(1.23456, 8, 2); d = '{{}}'.format()"
    ),
    "percent": "a = '%s_%03d' % ('x', 7); b = '%(k).2f%%' % {'k': 1.0}; c = '%5s' % 'x'",
    "f-strings": ("x = 3; a = f'{x}_{x:03d}_{x!r}_{x + 1 = }'; w = 6; b = f'{x:>{w}}'; c = f'{{}}' 'z'; d = f'{[1]}'"),
    "comments": '"""Doc {{ _base_.x }}."""\na = 1  # c\n"a note"',
    "own function names": "list = [1]; a = list[0]",
    "bytes and lines": "a = 'x\\n\\u00e9'; b = '''two\nlines'''; c = ('p'\n     'q')",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_reads_what_python_would_make(read, program):
    expected: dict[str, object] = {}
    exec(program, {}, expected)
    expected.pop("__doc__", None)
    assert same(read(program), expected)


def test_names_with_two_underscores_are_helpers_that_are_left_out(read):
    assert read("__sizes = zip('ab', [1, 2])\n_kept = 0\na = dict(__sizes)") == {"_kept": 0, "a": {"a": 1, "b": 2}}


REFUSED = {
    "import os": (1, "an import is not read in a config: `import os`", "custom_imports=dict(imports=['my.module']"),
    "a = 1\nfrom os import path": (2, "an import", "custom_imports"),
    "def f():\n    pass": (1, "a function definition", "dict(type='Name')"),
    "class A: pass": (1, "a class definition", "dict(type='Name')"),
    "a = lambda x: x": (1, "a lambda", "dict(type='Name')"),
    "for i in []:\n    a = 1": (1, "a for statement", "write a comprehension"),
    "while True:\n    a = 1": (1, "a while statement", "write a comprehension"),
    "with open('x'):\n    a = 1": (1, "this (With)", "a config is data and runs no code"),
    "try:\n    a = 1\nexcept E:\n    a = 2": (1, "this (Try)", "runs no code"),
    "a = (b := 1)": (1, "an assignment inside an expression", "name = value"),
    "a: int = 1": (1, "an annotated assignment", "name = value"),
    "a = 1\ndel a": (2, "a del statement", "two underscores"),
    "assert True": (1, "this (Assert)", "runs no code"),
    "a = (yield)": (1, "this (Yield)", "runs no code"),
    "a = dict(x=1)\nb = a.x": (2, "attribute access is not read in a config: `a.x`", "write x['key']"),
    "a = {}\na.x = 1": (2, "an attribute cannot be assigned", "write a['x'] = ..."),
    "a = open('x')": (1, "open(...) cannot be called", "there are abs, bool, dict"),
    "a = eval('1')": (1, "eval(...) cannot be called", "runs no code"),
    "a = __import__('os')": (1, "__import__(...) cannot be called", "runs no code"),
    "a = getattr(1, 'real')": (1, "getattr(...) cannot be called", "runs no code"),
    "a = lst([1])": (1, "lst(...) cannot be called", "did you mean 'list'"),
    "a = [].__class__": (1, "attribute access", "write x['key']"),
    "a = [].__len__()": (1, ".__len__() of a list value is not read", "methods of a list are: .append()"),
    "a = 'x'.encode()": (1, ".encode() of a str value", "methods of a str are"),
    "a = (1).bit_length()": (1, ".bit_length() of a int value", "are: none"),
    "a = [list][0]([1])": (1, "(Subscript)", "runs no code"),
    "a = list": (1, "the function list is no value", "as a string: 'list'"),
    "a = sorted([1], key=len)": (1, "the function len is no value", "call it"),
    "list = [1]\na = list('x')": (2, "'list' is a value of this file", "cannot be called"),
    "model = 1\na = modle": (2, "the name 'modle' is not defined above this line", "did you mean 'model'"),
    "a = true": (1, "the name 'true' is not defined", "did you mean 'True'"),
    "a = __file__": (1, "'__file__' belongs to Python", "'{{ fileDirname }}'"),
    "a = {{ fileDirname }}": (1, "the template fileDirname belongs in quotes", "'{{ fileDirname }}'"),
    "a = ...": (1, "... stands for nothing", "write the value"),
    "a = [1] @ [2]": (1, "the operator @", "write the values out"),
    "a = zip([1], [2])": (1, "a: a zip object is no data", "write list(...) around it"),
    "a = {}.items()": (1, "a: a dict_items object is no data", "write list(...) around it"),
    "a = (i for i in [1])": (1, "is no data", "write list(...) around it"),
    "a = [1 async for i in []]": (1, "asynchronous", "leave `async` out"),
    "a = {**[1]}": (1, "** spreads a dict", "this is a list"),
    "a = '{0.__class__}'.format(1)": (1, "the field {0.__class__} looks into an object", "give the value itself"),
    "a = '{0[x]}'.format({'x': 1})": (1, "the field {0[x]} looks into an object", ".format(x['key'])"),
    "a = '{x:{y.z}}'.format(x=1, y=2)": (1, "the field {y.z}", "give the value itself"),
    "a = '{!x}'.format(1)": (1, "!x is no conversion", "!r, !s and !a"),
    "a = b'%d' % 1": (1, "bytes %", "write the bytes out"),
    "a = '%(a(b))s' % {'a(b)': 1}": (1, "holds a bracket", "use an f-string"),
    "a = 'x' if": (1, ":11: ", "a = 'x' if\n"),
}


@pytest.mark.parametrize(("program", "said"), REFUSED.items(), ids=[text[:30] for text in REFUSED])
def test_refuses_what_is_no_data_and_says_what_to_write(refusal, program, said):
    line, found, advice = said
    message = refusal(program)
    assert message.startswith(f"{line}:")
    assert found in message
    assert advice in message


RUNTIME = {
    "a = 1\nb = a / 0": (2, ZeroDivisionError, "ZeroDivisionError: division by zero"),
    "a = dict(width=1)['widht']": (1, KeyError, "no key 'widht'; did you mean 'width'"),
    "a = {}.pop('x')": (1, KeyError, "no key 'x'"),
    "a = [1][3]": (1, IndexError, "IndexError: list index out of range"),
    "a = 1 + 'x'": (1, TypeError, "TypeError: unsupported operand"),
    "a = [\n  1,\n  int('x'),\n]": (3, ValueError, "ValueError: invalid literal for int()"),
    "a, b = 1, 2, 3": (1, ValueError, "3 values cannot be spread over 2 names"),
    "a = dict(x=1, **{'x': 2})": (1, TypeError, "the argument 'x' is given twice"),
    "a = dict(x=1, x=2)": (1, TypeError, "the argument 'x' is given twice"),
    "a = {[]: 1}": (1, TypeError, "unhashable type: 'list'"),
    "a = 10.0 ** 400": (1, OverflowError, "OverflowError"),
    "a = sum('ab', '')": (1, TypeError, "''.join"),
    "a = 'x'\na[0] = 'y'": (2, TypeError, "a str value takes no item assignment"),
    "d = {1: 1}\na = [d.update({i + 10: 1}) for i in d]": (2, RuntimeError, "changed size"),
    "*a, *b = [1]": (1, (ValueError, SyntaxError), ""),
}


@pytest.mark.parametrize(("program", "said"), RUNTIME.items(), ids=[text[:30] for text in RUNTIME])
def test_an_error_while_evaluating_is_located_and_chained(read, refusal, program, said):
    line, cause, words = said
    message = refusal(program)
    assert message.startswith(f"{line}:")
    assert words in message
    with pytest.raises(ConfigError) as caught:
        read(program)
    assert isinstance(caught.value.__cause__, cause)


def test_a_syntax_error_shows_the_line_and_the_column(refusal):
    place, shown, mark = refusal("a = 1\nmodel = 3 4\n").split("\n")
    assert place.startswith("2:11: invalid syntax")
    assert (shown, mark) == ("    model = 3 4", "              ^")
    place, shown, mark = refusal(f"a = 1\nb = {'1 + ' * 100}) + 2\n").split("\n")
    assert place.startswith("2:405: unmatched ')'")
    assert shown[mark.index("^")] == ")"
    assert len(shown) < 130


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="{"))
    | st.binary(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", exclude_characters="{")) | st.integers(), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(values)
def test_any_literal_written_with_repr_reads_back_equal(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "literal.py"
    file.write_text(f"x = {value!r}\n", encoding="utf-8")
    assert same(Config.fromfile(file).to_dict(), {"x": value})
