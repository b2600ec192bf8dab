"""The documentation as it is built: pages without marks that were meant for the builder."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("mkdocs", reason="mkdocs is not installed: python3 dev.py docs")

ROOT = Path(__file__).parents[1]
ANYWHERE = {"snippet": r"-+\s*8\s*<\s*-+"}
IN_TEXT = {
    "fence": r"```|~~~",
    "reference": r"^\s*:::",
    "admonition": r"^\s*(!!!|\?\?\?) ",
    "link": r"\]\(",
    "variable": r"\{\{",
}


def marks(page: str) -> list[str]:
    """The kinds of marks that a page shows."""
    prose = re.sub(r"<(pre|code|script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    found = [kind for kind, pattern in ANYWHERE.items() if re.search(pattern, _text(page))]
    return found + [kind for kind, pattern in IN_TEXT.items() if re.search(pattern, _text(prose), re.MULTILINE)]


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def test_no_mark_for_the_builder_is_left_on_a_page(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    assert {str(path): found for path, page in pages.items() if (found := marks(page))} == {}
    assert "Train on several processes" in _text(pages[Path("site/training/index.html")])  # the run that it shows


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("<code><span>--</span><span>8</span> <span>&lt;</span> --&quot;docs/x.py&quot;</code>", "snippet"),
        ('<p>--8&lt;-- "docs/x.py"</p>', "snippet"),
        ("<p>```py</p>", "fence"),
        ("<p>\n::: atdata.errors</p>", "reference"),
        ("<p>!!! note</p>", "admonition"),
        ("<p>[a](b.md)</p>", "link"),
    ],
)
def test_a_mark_that_is_left_is_found(page, kind):
    assert marks(page) == [kind]
    assert marks(f"<pre>{page}</pre>") == ([kind] if kind == "snippet" else [])
