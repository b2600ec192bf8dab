"""Pages in a real browser: found, followed, narrow, by keyboard, without scripts; what axe says of each; what hostile text does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from atdata.appview.web.addresses import record_path
from support.absent import AXE, browser_unavailable

if why := browser_unavailable():
    pytest.skip(why, allow_module_level=True)

from playwright.sync_api import Browser, Page

from support.sites import TRAPS, Site, browsing, site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A window in which nothing may be reported to the console, and nothing fetched from elsewhere."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    said: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert said == []


def addresses(looked_at: Site) -> dict[str, str]:
    """A page of each kind."""
    newest, mallory = str(record_path(looked_at.newest)), looked_at.dids["mallory"]
    return {
        "home": "/",
        "search": "/search?q=retina",
        "everything": "/search",
        "problem": "/search?q=samples:7",
        "dataset": newest,
        "samples": f"{newest}?samples=1",
        "proof": f"{newest}/proof",
        "schema": str(record_path(looked_at.schema)),
        "lens": str(record_path(looked_at.lens)),
        "account": f"/at/{looked_at.dids['alice']}",
        "about": "/about",
        "nowhere": "/nowhere",
        **{f"hostile {n}": f"/at/{mallory}/science.alt.dataset.entry/h{n}" for n in range(len(TRAPS))},
        "hostile schema": f"/at/{mallory}/science.alt.dataset.schema/h3",
        "hostile label": f"/at/{mallory}/science.alt.dataset.label/h3",
        "long": f"/at/{mallory}/science.alt.dataset.entry/large",
        "hostile account": f"/at/{mallory}",
    }


def test_a_dataset_is_searched_opened_and_its_proof_followed(looked_at: Site, page: Page) -> None:
    page.goto(looked_at.url)
    page.get_by_label("Search datasets").fill("retina")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="CC-BY-4.0").click()
    assert page.get_by_role("status").inner_text() == "2 found"
    page.get_by_role("link", name="retina-scans").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "retina-scans"
    assert "@alice.test/retina-scans@2.0.0" in page.get_by_label("Python that loads it").inner_text()
    assert "float (um)" in page.inner_text("main")
    page.get_by_role("link", name="The proof, link by link").click()
    assert page.locator(".chain li.holds").count() == 5
    assert page.locator(".chain li.broken").count() == 0
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    assert download.value.suggested_filename.endswith(".car")


def test_samples_are_looked_at_once_somebody_asks(looked_at: Site, page: Page) -> None:
    page.goto(looked_at.url + str(record_path(looked_at.newest)))
    assert "reviewed, says" in page.get_by_label("Labels").inner_text()
    assert page.locator("main img").count() == 0
    page.get_by_role("link", name="Show the first samples").click()
    while page.get_by_role("link", name="Look again").count():
        page.get_by_role("link", name="Look again").click()
    assert page.locator("main img").count() > 0
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_a_proof_that_does_not_hold_says_so(looked_at: Site, page: Page) -> None:
    def exchange(before: bytes, after: bytes) -> None:
        def work(writing: Any) -> None:
            for account, evidence in writing.sql.all("SELECT account, evidence FROM replica_identities"):
                said = bytes(evidence).replace(before, after)
                writing.sql.run("UPDATE replica_identities SET evidence = ? WHERE account = ?", said, account)

        looked_at.replica.write(work)

    exchange(b'"handle": "alice.test"', b'"handle": "elsewhere.test"')
    page.goto(looked_at.url + str(record_path(looked_at.newest)) + "/proof")
    exchange(b'"handle": "elsewhere.test"', b'"handle": "alice.test"')
    assert "a handle is not named by its DID document (at handle)" in page.get_by_role("alert").inner_text()
    assert page.locator(".chain li").count() == 0


def test_a_lens_says_what_each_verification_is_worth(looked_at: Site, page: Page) -> None:
    page.goto(looked_at.url + str(record_path(looked_at.lens)))
    worth = {
        row.locator("th").inner_text(): row.locator("strong").inner_text()
        for row in page.locator(".verifications tbody tr").all()
    }
    assert worth == {"@carol.test": "trusted", "@alice.test": "not on the list", "@mallory.test": "does not count"}
    assert "rename image to picture" in page.locator(".steps").inner_text()


def test_a_narrow_window_needs_no_scrolling_to_the_side(looked_at: Site, page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    for name, address in addresses(looked_at).items():
        if name in ("problem", "nowhere"):
            continue  # the browser says in its console that these are errors
        page.goto(looked_at.url + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, name


def test_all_works_without_scripts(looked_at: Site, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(looked_at.url + "/search?q=retina")
    page.locator("summary", has_text="Publisher").click()
    page.get_by_role("link", name="@alice.test").first.click()
    page.get_by_role("link", name="retina-scans").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "retina-scans"
    context.close()


def test_the_keyboard_is_enough(looked_at: Site, page: Page) -> None:
    focused = "document.activeElement.textContent.trim() || document.activeElement.name"
    page.goto(looked_at.url + "/about")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert order == ["atdata", "q", "Search", "About"]
    page.goto(looked_at.url + "/about")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(looked_at: Site, chromium: Browser, scheme: Any) -> None:
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    page, script, found = context.new_page(), AXE.read_text("utf-8"), {}
    for name, address in addresses(looked_at).items():
        if name in ("hostile 0", "hostile 1", "hostile 2"):
            continue  # their traps are all in the last one
        page.goto(looked_at.url + address)
        page.evaluate(script)
        result = page.evaluate("axe.run({resultTypes: ['violations']})")
        found[name] = [
            (each["id"], [node["html"][:200] for node in each["nodes"][:2]]) for each in result["violations"]
        ]
    context.close()
    assert {name: broken for name, broken in found.items() if broken} == {}


def test_hostile_records_do_nothing(looked_at: Site, page: Page) -> None:
    dialogs, fetched = list[str](), list[str]()
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.on("request", lambda request: fetched.append(request.url))
    for name, address in addresses(looked_at).items():
        if name.startswith(("hostile", "long", "everything")):
            response = page.goto(looked_at.url + address)
            assert response is not None
            assert response.status == 200, name
            assert page.evaluate("window.caught") is None, name
            assert page.locator("main img, main script, main iframe").count() == 0
            assert page.locator("a[href^=javascript]").count() == 0
            assert page.locator("h1").count() == 1
            box = page.locator("footer").bounding_box()
            assert box is not None
            assert box["width"] == 1200
    assert dialogs == []
    assert {url for url in fetched if not url.startswith(looked_at.url)} == set()
