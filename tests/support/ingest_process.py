"""An ingester in a process of its own, which a test may kill; run as a script.

Its arguments: the address of a database, the directory, the resolvers, and the upstreams. It says a word once it begins.
"""

from __future__ import annotations

import sys

from atdata.appview.ingest import Ingester, IngestPace
from atdata.settings import Settings
from support.ingesting import replica_at

PACE = IngestPace(workers=4, lease_seconds=0.4, sweep_seconds=1.0, retry_seconds=0.05)


def main(database: str, directory: str, resolvers: str, *upstreams: str) -> None:
    """Ingest until killed."""
    settings = Settings.of(plc_url=directory, resolver_url=resolvers, allow_loopback=True)
    ingester = Ingester(replica_at(database), upstreams, settings, PACE)
    print("begins", flush=True)
    ingester.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
