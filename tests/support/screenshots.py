"""Pictures of pages for docs/web.md: `python -m support.screenshots FOLDER`, in tests."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from atdata.appview.web.addresses import record_path
from support.sites import browsing, site

WIDE, NARROW = {"width": 1100, "height": 820}, {"width": 390, "height": 820}


def take(folder: Path) -> None:
    """Take them, as WebP."""
    with site(Path(tempfile.mkdtemp())) as shown, browsing() as browser:
        newest, lens = str(record_path(shown.newest)), str(record_path(shown.lens))
        pictures: dict[str, tuple[str, Any, Any]] = {
            "web-search": ("/search?q=license%3ACC-BY%2CMIT%2CISC", WIDE, "light"),
            "web-dataset": (newest, WIDE, "light"),
            "web-proof": (f"{newest}/proof", WIDE, "dark"),
            "web-lens": (lens, WIDE, "dark"),
            "web-narrow": (newest, NARROW, "light"),
        }
        for name, (address, window, scheme) in pictures.items():
            page = browser.new_page(viewport=window, color_scheme=scheme)
            page.goto(shown.url + address)
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").save(folder / f"{name}.webp", quality=82, method=6)
            page.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
