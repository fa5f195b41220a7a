"""Pages: HTML that needs nothing but itself, filled from templates in which every value is escaped."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mmhooks.report.extra import check_extra
from mmhooks.report.text import clean, number, shortened

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = "mmhooks.report"


@dataclass(frozen=True)
class Badge:
    """A word that is told by its colour, too.

    Attributes:
        text: the word.
        kind: ``"good"``, ``"fair"``, ``"warn"``, ``"bad"``, ``"info"`` or ``"plain"``.
        sign: a character before it, for readers who do not see colours.
    """

    text: str
    kind: str = "plain"
    sign: str = ""


def render(template: str, package: str = _HERE, **values: Any) -> str:
    """Fill a template. Every value is escaped that is not marked as HTML, and what cannot be seen is written out.

    A template that extends ``page.html`` becomes a whole page: its style and script are in it, and a browser is told
    to fetch nothing. Such a template may use the macros of ``parts.html``.

    Args:
        template: its file name.
        package: the package in whose folder ``templates`` it is; those of this one are found from there, too.
        **values: what it shows.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    check_extra("jinja2", "a page")
    return _environment(package).get_template(template).render(**values)


@functools.cache
def _environment(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return clean(value) if type(value) is str else value

    names = [package] if package == _HERE else [package, _HERE]
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in names]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, shortened=shortened)
    script = _text("filter.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(style=Markup(_text("page.css")), script=Markup(script), script_digest=Markup(digest))
    return environment


def _text(name: str) -> str:
    return (files(_HERE) / "templates" / name).read_text(encoding="utf-8")
