"""Configs in YAML, built from the parser's events: an alias costs what it stands for, and no tag makes an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from mmhooks.config.advice import cause_of, located
from mmhooks.config.expressions import DATA_ERRORS
from mmhooks.config.limits import MAX_DEPTH, Budget, Refusal
from mmhooks.config.marks import Marks
from mmhooks.config.module import Module
from mmhooks.config.templates import Pending, Templates
from mmhooks.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
TUPLE_TAG = _TAG + "python/tuple"  # what MMCV writes for a tuple
_MAX_NUMBER = 5_000  # characters; reading a number in base 60 takes the square of them
_NOTHING = object()
_MERGE = object()
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is many times faster


def read_yaml(source: str, path: str, budget: Budget, templates: Templates) -> Module:
    """Read the text of a `.yaml` or `.yml` config file.

    Args:
        source: the text.
        path: the absolute path of the file, for messages.
        budget: the work that is left for the config and its bases.
        templates: what its templates stand for, inside and outside of quotes.

    Raises:
        ConfigError: the text is not YAML, or no mapping of plain values.
    """
    marks = Marks(source, templates)
    builder = None
    try:
        builder = _Builder(marks.mark(source) if "{{" in source else source, budget, marks)
        values = builder.build()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1"
        raise ConfigError(f"{path}:{place}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = source.encode("utf-8", "surrogatepass")[: error.position].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: {str(error).splitlines()[0]}") from error
    except DATA_ERRORS as error:
        raise located(path, builder.line if builder else 1, error) from cause_of(error)
    if not isinstance(values, dict):
        kind = "template" if isinstance(values, Pending) else type(values).__name__
        raise ConfigError(f"{path}:1: a config is a mapping, `key: value`, not a {kind}")
    return Module(path, source, values, builder.lines)


@dataclass
class _Open:
    """A sequence or mapping that has not ended yet."""

    event: Any
    items: list[Any] = field(default_factory=list)
    pairs: dict[Any, Any] = field(default_factory=dict)
    merges: list[Any] = field(default_factory=list)
    key: Any = _NOTHING


class _Builder:
    """Makes values of events.

    Attributes:
        line: the line of the last event.
        lines: the lines of the outermost keys.
    """

    def __init__(self, text: str, budget: Budget, marks: Marks) -> None:
        self.line = 1
        self.lines: dict[Any, int] = {}
        self._loader = _Loader(text)
        self._budget = budget
        self._marks = marks
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._root: Any = _NOTHING

    def build(self) -> Any:
        """Read the document; an empty one is an empty config."""
        try:
            while self._loader.check_event():
                event = self._loader.get_event()
                self.line = event.start_mark.line + 1
                self._budget.step()
                handler = self._HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        finally:
            self._loader.dispose()
        return {} if self._root is _NOTHING or self._root is None else self._root

    def _document(self, event: Any) -> None:
        if self._root is not _NOTHING:
            raise Refusal("a second document; a config is one")

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            inside = any(opened.event.anchor == event.anchor for opened in self._open)
            raise Refusal(f"*{event.anchor} {'holds itself' if inside else 'has no &' + event.anchor + ' above it'}")
        self._add(self._anchors[event.anchor])

    def _start(self, event: Any) -> None:
        if len(self._open) > MAX_DEPTH:
            raise Refusal(f"a value is nested more than {MAX_DEPTH} deep")
        self._open.append(_Open(event))

    def _end(self, event: Any) -> None:
        opened = self._open.pop()
        tag = opened.event.tag
        value: Any
        if isinstance(opened.event, yaml.MappingStartEvent):
            value = self._mapping(opened)
            if tag == _TAG + "set":
                value = set(value)
            elif tag not in (None, "!", _TAG + "map"):
                raise _refused(tag)
        elif tag == TUPLE_TAG:
            value = tuple(opened.items)
        elif tag in (None, "!", _TAG + "seq"):
            value = opened.items
        else:
            raise _refused(tag)
        self._finish(opened.event, value)

    def _mapping(self, opened: _Open) -> dict[Any, Any]:
        if not opened.merges:
            return opened.pairs
        made: dict[Any, Any] = {}
        for merged in opened.merges:  # of several mappings in one `<<`, the first one wins
            for mapping in reversed(merged) if isinstance(merged, list) else [merged]:
                if not isinstance(mapping, dict):
                    raise Refusal("<< takes a mapping, or a list of mappings")
                self._budget.step(len(mapping))
                made.update(mapping)
        made.update(opened.pairs)
        return made

    def _scalar(self, event: Any) -> None:
        self._budget.text(len(event.value))
        text = self._marks.fill(event.value)
        if isinstance(text, Pending):
            self._finish(event, text)
            return
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, text, event.implicit)
        if tag == _TAG + "merge" and self._open and self._open[-1].key is _NOTHING:
            self._finish(event, _MERGE)
            return
        construct = _SCALARS.get(tag.removeprefix(_TAG))
        if construct is None:
            raise _refused(tag)
        self._finish(event, construct(self._loader, yaml.ScalarNode(tag, text)))

    def _finish(self, event: Any, value: Any) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._add(value)

    def _add(self, value: Any) -> None:
        if not self._open:
            self._root = value
            return
        opened = self._open[-1]
        if isinstance(opened.event, yaml.SequenceStartEvent):
            opened.items.append(value)
        elif opened.key is _NOTHING:
            if value is not _MERGE:
                self._budget.weigh(value)
                hash(value)
                if len(self._open) == 1:
                    self.lines[value] = self.line
            opened.key = value
        else:
            if opened.key is _MERGE:
                opened.merges.append(value)
            else:
                opened.pairs[opened.key] = value
            opened.key = _NOTHING

    _HANDLERS: ClassVar[dict[type, Callable[[_Builder, Any], None]]] = {
        yaml.DocumentStartEvent: _document,
        yaml.AliasEvent: _alias,
        yaml.ScalarEvent: _scalar,
        yaml.SequenceStartEvent: _start,
        yaml.SequenceEndEvent: _end,
        yaml.MappingStartEvent: _start,
        yaml.MappingEndEvent: _end,
    }


def _text(loader: Any, node: yaml.ScalarNode) -> str:
    return str(node.value)


def _number(name: str) -> Callable[[Any, yaml.ScalarNode], Any]:
    def construct(loader: Any, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _MAX_NUMBER:
            raise Refusal(f"a number of {len(node.value):,} characters is too long; at most {_MAX_NUMBER:,}")
        return getattr(loader, name)(node)

    return construct


def _other(name: str) -> Callable[[Any, yaml.ScalarNode], Any]:
    return lambda loader, node: getattr(loader, name)(node)


_SCALARS: dict[str, Callable[[Any, yaml.ScalarNode], Any]] = {
    "str": _text,
    "merge": _text,
    "value": _text,
    "int": _number("construct_yaml_int"),
    "float": _number("construct_yaml_float"),
    "bool": _other("construct_yaml_bool"),
    "null": _other("construct_yaml_null"),
    "timestamp": _other("construct_yaml_timestamp"),
    "binary": _other("construct_yaml_binary"),
}


def _refused(tag: str) -> Refusal:
    short = "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
    return Refusal(f"the tag {short:.60} makes an object, and a config is data; write the value without a tag")
