"""The AppView's answers: queries over XRPC, with proofs, and changes to follow.

Every answer is of one state of the database, which it only reads. What is asked is held against the lexicon of its method
(`lexicons.py`); what is answered with are views of records (`views.py`).
"""

from __future__ import annotations

from atdata.appview.xrpc.fetching import MarkingFetcher
from atdata.appview.xrpc.identities import HandleBook, ProvenIdentity
from atdata.appview.xrpc.limits import LOOPBACK, RateLimit
from atdata.appview.xrpc.logs import log_lines
from atdata.appview.xrpc.service import AppViewService, RecordFetcher

__all__ = [
    "LOOPBACK",
    "AppViewService",
    "HandleBook",
    "MarkingFetcher",
    "ProvenIdentity",
    "RateLimit",
    "RecordFetcher",
    "log_lines",
]
