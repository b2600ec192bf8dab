"""The AppView in a browser: pages of what it knows, without scripts.

A page is a frozen value (`pages.py`, `parts.py`), which `render` makes HTML of; it asks nothing and reads nothing but its
templates. So the page of a dataset that is on this machine is made without a database:

    page = DatasetPage(name="rows", served=False, fields=schema_table(fields_of(Row)), load=("import atdata", ...))
    html = render(page)

`style_sheet()` is the one file that the pages need beside them, at `STYLE`; `SECURITY` are the headers to send with them.
Pages of a service are made of its replica by `WebReader` (`reader.py`), and served by `WebEndpoints` (`serving.py`).
"""

from __future__ import annotations

from atdata.appview.web.pages import AccountPage, DatasetPage, LensPage, Page, PlainRecordPage, ProofPage, SchemaPage
from atdata.appview.web.rendering import render
from atdata.appview.web.schemas import schema_table
from atdata.appview.web.service_pages import AboutPage, HomePage, ProblemPage, SearchPage
from atdata.appview.web.serving import SECURITY, STYLE, WebEndpoints, style_sheet

__all__ = [
    "SECURITY",
    "STYLE",
    "AboutPage",
    "AccountPage",
    "DatasetPage",
    "HomePage",
    "LensPage",
    "Page",
    "PlainRecordPage",
    "ProblemPage",
    "ProofPage",
    "SchemaPage",
    "SearchPage",
    "WebEndpoints",
    "render",
    "schema_table",
    "style_sheet",
]
