"""HTML from pages: the one place where text becomes markup.

Whatever a template prints goes through `_shown` first, so that no character of it hides, turns the direction of text, or is
more than a page has room for; then it is escaped. Templates print no value as markup but what the functions below make.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from atdata.appview.web.addresses import record_path, search_path, web_link
from atdata.appview.web.citing import license_link
from atdata.appview.web.pages import Page
from atdata.appview.web.style import ICON, STYLE
from atdata.plain import plain
from atdata.search import written

MOST = 4000
"""Characters of one text."""
_PARAGRAPHS, _PROSE = 40, 8000
_URL = re.compile(r"https?://[^\s<>\"]+")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def render(page: Page) -> str:
    """The HTML of a page."""
    return _environment().get_template(page.TEMPLATE).render(page=page)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("atdata.appview.web"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"style": STYLE, "icon": ICON, "search_path": search_path}
    made.filters |= {
        "at": at,
        "web": web_link,
        "license": license_link,
        "tagged": _tagged,
        "prose": prose,
        "lines": lines,
        "png": png,
        "linked_data": linked_data,
        "number": number,
        "size": size,
    }
    return made


def _shown(value: Any) -> Any:
    """A value as it is printed."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) else plain(value, MOST)


def prose(text: str) -> Markup:
    """Text as paragraphs, in which addresses on the web can be followed."""
    cut, kept = text[:_PROSE], []
    for paragraph in re.split(r"\n\s*\n", cut.strip()):
        said = [_linked(line) for line in paragraph.expandtabs(4).splitlines() if line.strip()]
        if said:
            kept.append(Markup("<p>{}</p>").format(Markup("<br>").join(said)))
        if len(kept) == _PARAGRAPHS:
            break
    if len(text) > len(cut):
        kept.append(Markup("<p>…</p>"))
    return Markup("\n").join(kept)


def lines(texts: Iterable[str]) -> Markup:
    """Lines of code, each made harmless by itself."""
    return Markup("\n").join(_stripped(text.expandtabs(4)) for text in texts)


@pass_context
def at(context: Context, uri: str) -> str | None:
    """The address of the page of a thing, where the service that shows this page has others."""
    return record_path(uri) if context["page"].served else None


def png(data: bytes) -> Markup:
    """The address of a small picture that was made here: it holds the picture itself."""
    return Markup(f"data:image/png;base64,{base64.b64encode(data).decode()}")  # noqa: S704  of these 64 characters


def linked_data(value: Any) -> Markup:
    """A value as JSON in an element that holds it, out of which nothing in it leads."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  ASCII without these three


def number(count: int) -> str:
    """A number as people read it."""
    return f"{count:,}"


def size(count: int) -> str:
    """A number of bytes as people read it."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if unit else f"{count:,} {'byte' if count == 1 else 'bytes'}"


def _tagged(tag: str) -> str:
    """The question for what has a tag."""
    return search_path(written("tag", tag[:200]) or tag[:200])


def _linked(line: str) -> Markup:
    return Markup("").join(_pieces(line))


def _pieces(line: str) -> Iterator[Markup]:
    at = 0
    for found in _URL.finditer(line):
        url = found[0].rstrip(".,;:!?'\")]}")
        if web_link(url) is not None:
            yield _stripped(line[at : found.start()])
            yield Markup('<a href="{0}" rel="nofollow noopener ugc">{0}</a>').format(url)
            at = found.start() + len(url)
    yield _stripped(line[at:])


def _stripped(text: str) -> Markup:
    return escape(plain(text.rstrip("\r\n"), MOST))
