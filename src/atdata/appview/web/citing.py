"""Datasets as others cite them, and as search engines read them (https://schema.org/Dataset)."""

from __future__ import annotations

import re
from typing import Any

from atdata.appview.web.addresses import web_link
from atdata.appview.web.pages import DatasetPage
from atdata.appview.web.parts import Citation
from atdata.plain import plain
from atdata.search.facets import licenses_in

_SPDX = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*-[0-9][A-Za-z0-9.+-]*|MIT|ISC|Zlib|Unlicense|0BSD")
"""Texts that cannot well be anything but identifiers."""
_TEXT, _ITEMS = 1000, 50
_SPECIAL = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def citation_of(page: DatasetPage, cid: str, version: str | None) -> Citation:
    """The citation of a dataset of the network: the CID says which it is for ever, whatever becomes of its name."""
    assert page.account is not None
    name, author = plain(page.name, 200), page.account.shown
    year = page.created[:4]
    named = f"{name} (version {plain(version, 50)})" if version else name
    text = f"{author} ({year}). {named} [dataset]. {page.uri}, record {cid}."
    key = re.sub(r"[^A-Za-z0-9]+", "-", f"{page.account.handle or page.account.did}-{name}").strip("-").lower()[:60]
    members = {
        "author": author,
        "title": name,
        "year": year,
        **({"version": plain(version, 50)} if version else {}),
        "howpublished": f"AT Protocol record {page.uri}",
        "note": f"CID {cid}, published by {page.account.did}",
    }
    rows = [f"  {member} = {{{value.translate(_SPECIAL)}}}," for member, value in members.items()]
    return Citation(text, "\n".join([f"@misc{{{key},", *rows, "}"]))


def linked_data_of(page: DatasetPage, cid: str) -> dict[str, Any]:
    """A dataset as JSON-LD. What strangers wrote stands in it as text."""
    assert page.account is not None
    said: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": plain(page.name, _TEXT),
        "description": plain(page.description, 5000) or f"A dataset of {plain(page.name, 200)}.",
        "identifier": [page.uri, cid],
        "creator": {"@type": "Organization", "name": page.account.shown, "identifier": page.account.did},
        "datePublished": page.created,
        "keywords": [plain(tag, 200) for tag in page.tags[:_ITEMS]],
        "license": _license(page.license),
        "isAccessibleForFree": True,
        "variableMeasured": [_variable(field.name, field.unit, field.doc) for field in page.fields.fields[:_ITEMS]],
        "distribution": _downloads(page),
    }
    return {name: value for name, value in said.items() if value not in (None, "", [])}


def license_link(text: str | None) -> str | None:
    """The text of a license: its own address, or that of its SPDX identifier."""
    if text is None:
        return None
    found = web_link(text)
    listed = licenses_in(text)
    if found is None and len(listed) == 1 and _SPDX.fullmatch(listed[0]) and listed[0] == text.strip():
        return f"https://spdx.org/licenses/{listed[0]}.html"
    return found


def _license(text: str | None) -> str | None:
    return license_link(text) or (None if text is None else plain(text, _TEXT))


def _variable(name: str, unit: str, doc: str) -> dict[str, str]:
    said = {"@type": "PropertyValue", "name": plain(name, 200), "unitText": plain(unit, 100)}
    return {key: value for key, value in {**said, "description": plain(doc, _TEXT)}.items() if value}


def _downloads(page: DatasetPage) -> list[dict[str, str]]:
    """The shards that are on the web."""
    found = []
    for shard in () if page.storage is None else page.storage.shards:
        url = web_link(shard.url)
        if url is not None:
            algorithm, _, digest = shard.digest.partition(":")
            download = {"@type": "DataDownload", "contentUrl": url, "encodingFormat": "application/x-tar"}
            found.append({**download, "sha256": digest} if algorithm == "sha256" else download)
    return found
