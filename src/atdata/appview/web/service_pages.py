"""Pages of the service itself: the first one, what questions find, what it is, what cannot be shown."""

from __future__ import annotations

from dataclasses import dataclass

from atdata.appview.web.pages import Page
from atdata.appview.web.parts import More, Publisher, ThingRow


@dataclass(frozen=True, kw_only=True)
class HomePage(Page):
    """The first page: how much there is, and the newest datasets."""

    TEMPLATE = "home.html"

    counts: tuple[tuple[str, int], ...]
    newest: tuple[ThingRow, ...]

    @property
    def title(self) -> str:
        """See `Page`."""
        return "Datasets"


@dataclass(frozen=True, slots=True)
class FacetLink:
    """A value of a facet, how many have it, and the question with or without it; no link where none can be written."""

    label: str
    count: int | None
    href: str | None
    active: bool = False


@dataclass(frozen=True, slots=True)
class FacetGroup:
    """The values of one kind; `shut` where they are shown only on demand."""

    title: str
    values: tuple[FacetLink, ...]
    shut: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchPage(Page):
    """A page of what a question finds.

    Attributes:
        question: as it was asked.
        rows: what was found.
        total: how many, on all pages.
        exact: whether these are all.
        chosen: conditions of the question, each with the question without it.
        facets: conditions that it can have besides.
        following: the address of the next page.
        first: the address of the first page, where this is another.
        problem: what is wrong with the question.
        hint: how to ask it.
    """

    TEMPLATE = "search.html"

    question: str
    rows: tuple[ThingRow, ...] = ()
    total: int = 0
    exact: bool = True
    chosen: tuple[FacetLink, ...] = ()
    facets: tuple[FacetGroup, ...] = ()
    following: str | None = None
    first: str | None = None
    problem: str = ""
    hint: str = ""

    @property
    def status(self) -> int:  # type: ignore[override]  # a question that cannot be read is a page too
        """See `Page`."""
        return 400 if self.problem else 200

    @property
    def title(self) -> str:
        """See `Page`."""
        return f"Search: {self.question}" if self.question.strip() else "Search"

    @property
    def listed(self) -> bool:
        """See `Page`: there are too many questions."""
        return False


@dataclass(frozen=True, slots=True)
class UpstreamRow:
    """A server that is followed: its address, the number of the last event, and when it was written."""

    url: str
    cursor: str
    last: str


@dataclass(frozen=True, kw_only=True)
class AboutPage(Page):
    """The service itself: how far it has read, whom it trusts."""

    TEMPLATE = "about.html"

    did: str
    version: str
    contact: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    accounts: int = 0
    hidden: int = 0
    behind: int = 0
    lag: str = ""
    last_change: str = ""
    upstreams: tuple[UpstreamRow, ...] = ()
    following: bool = True
    verifiers: tuple[tuple[Publisher, str, str, str], ...] = ()
    verifiers_version: int = 0
    now: str = ""

    @property
    def title(self) -> str:
        """See `Page`."""
        return "About this service"


@dataclass(frozen=True, kw_only=True)
class ProblemPage(Page):
    """The page in place of one that cannot be shown."""

    TEMPLATE = "problem.html"

    code: int
    heading: str
    message: str
    more: More | None = None

    @property
    def status(self) -> int:  # type: ignore[override]  # it is the problem's
        """See `Page`."""
        return self.code

    @property
    def title(self) -> str:
        """See `Page`."""
        return self.heading

    @property
    def listed(self) -> bool:
        """See `Page`."""
        return False
