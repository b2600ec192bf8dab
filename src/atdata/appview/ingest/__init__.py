"""Ingest: upstreams are followed into verified copies of repositories, and no event is lost on the way.

One reader for each upstream puts frames into a bounded queue, from which one applier takes them. What a frame says is
held against the signed commit in it. What cannot be applied at once marks the repository, in the transaction that also
notes how far the upstream was read, and workers compare it with its own server until that succeeds.
"""

from __future__ import annotations

from atdata.appview.ingest.crew import Crew
from atdata.appview.ingest.ingester import Ingester, IngestPace
from atdata.appview.ingest.tables import TABLES

__all__ = ["TABLES", "Crew", "IngestPace", "Ingester"]
