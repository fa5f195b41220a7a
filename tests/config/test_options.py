"""`key=value` overrides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks.config import parse_option
from mmhooks.errors import ConfigError

VALUES = {
    "32": 32,
    "-1": -1,
    "0.5": 0.5,
    "1e-3": 0.001,
    "true": True,
    "False": False,
    "None": None,
    "none": None,
    "adam": "adam",
    "": "",
    "a=b": "a=b",
    "'32'": "32",
    '"a, b"': "a, b",
    "/data/my set/x.py": "/data/my set/x.py",
    "[1,2]": [1, 2],
    "[]": [],
    "()": (),
    "(1)": (1,),
    "[1,]": [1],
    "1,2,3": [1, 2, 3],
    "a,b": ["a", "b"],
    "1,": [1],
    "(1, a, 'b c', none)": (1, "a", "b c", None),
    "[(train, 1), (val, 1)]": [("train", 1), ("val", 1)],
    "[(1, 2, 3), [a, b], c]": [(1, 2, 3), ["a", "b"], "c"],
    "[1,2],[3,4]": [[1, 2], [3, 4]],
    "(1,2),x": [(1, 2), "x"],
    "f(a,b)": "f(a,b)",
    "  7 ": 7,
    "[ ]": [],
    "__import__('os')": "__import__('os')",
}


@pytest.mark.parametrize(("text", "value"), VALUES.items(), ids=VALUES)
def test_values(text, value):
    key, read = parse_option(f"model.x={text}")
    assert key == "model.x"
    assert repr(read) == repr(value)


MALFORMED = {
    "model.lr": "has no '='",
    "=3": "empty key",
    "a..b=3": "empty part",
    "a=[1,2": "is missing",
    "a=(1,2]": "is missing",
    "a=1,2]": "brackets do not match",
    "a=f(1": "brackets do not match",
    "a='x": "the quote ' is not closed",
    "a='x'y": "brackets do not match",
    "a=1,,2": "an element is empty",
    "a=,1": "an element is empty",
    "a=" + "[" * 200: "nested more than 100 deep",
}


@pytest.mark.parametrize(("text", "words"), MALFORMED.items(), ids=[text[:20] for text in MALFORMED])
def test_a_malformed_option_is_an_error_with_an_example(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_option(text)
    assert words in str(caught.value)
    assert "optimizer.lr=0.01" in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        key, _ = parse_option(text)
    except ConfigError:
        return
    assert key in text
