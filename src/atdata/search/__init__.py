"""Search: words and facets of datasets, schemas and lenses that a replica holds, ranked by a rule that anybody can follow.

The rows are made from verified records in the transactions that write these (`SearchIndex`), and can be made again. What
a question means is in `question.py`, what a document holds in `document.py`; the database finds both by the same tokens.
"""

from __future__ import annotations

from atdata.search.answers import FacetCount, Hit, SearchAnswer, search
from atdata.search.index import LogFollower, SearchIndex
from atdata.search.question import MAX_TEXT, Condition, Piece, Question, Term, pieces_of, written
from atdata.search.reaching import ReachingLens, Way
from atdata.search.tables import TABLES

__all__ = [
    "MAX_TEXT",
    "TABLES",
    "Condition",
    "FacetCount",
    "Hit",
    "LogFollower",
    "Piece",
    "Question",
    "ReachingLens",
    "SearchAnswer",
    "SearchIndex",
    "Term",
    "Way",
    "pieces_of",
    "search",
    "written",
]
