"""Questions to a search over 100,000 datasets, and over a million: the time of an answer, ranked, counted and with facets.

Accounts of 1,000 datasets are moved to signed commits, as an index that follows them does. Words are as frequent as in
texts (Zipf): the most frequent ones are in nearly every dataset, and are asked for too. The mix of questions is in `questions`.
With --quick only the smaller one, and only SQLite. Filling the larger one takes half an hour, and 4 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.keys import PrivateKey
from atdata.atproto.repo import mst
from atdata.atproto.repo.commit import Commit
from atdata.atproto.repo.proof import ProvenCommit
from atdata.atproto.syntax import Did, Tid
from atdata.databases import open_connection
from atdata.records import Schema
from atdata.replica import Replica
from atdata.replica.tables import TABLES as REPLICA
from atdata.samples import packable
from atdata.search import Question, SearchIndex, search
from atdata.search.tables import TABLES as SEARCH
from atdata.testing.services import PostgresServer
from atdata.trust import TABLES as TRUST

SMALL, LARGE = 100_000, 1_000_000
GOALS = {SMALL: 0.020, LARGE: 0.050}
ACCOUNT, SCHEMAS, QUESTIONS = 1000, 10, 1000
ENTRY, SCHEMA = "science.alt.dataset.entry", "science.alt.dataset.schema"
LICENSES = ["CC-BY-4.0", "MIT", "CC0-1.0", "Apache-2.0", "CC-BY-NC-4.0", "ODbL-1.0", "CC-BY-SA-4.0", "BSD-3-Clause"]
DAY = 86_400 * 10**6
ALPHABET = ["".join(pair) for pair in itertools.product("bcdfglmnprst", "aeiou")]


@packable
class Picture:
    image: bytes
    caption: str
    score: float


class Words:
    """Words, of which each has its frequency: the first ones are in nearly every text.

    Args:
        seed: draws them.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        spelled = random.Random(1)
        found = dict.fromkeys("".join(spelled.choices(ALPHABET, k=spelled.randint(2, 4))) for _ in range(60_000))
        self.all = list(found)[:30_000]
        weights = 1 / np.arange(1, len(self.all) + 1) ** 1.05
        self.bounds = np.cumsum(weights / weights.sum())

    def draw(self, count: int) -> list[str]:
        """So many words of a text."""
        places = np.searchsorted(self.bounds, self.rng.random(count))
        return [self.all[min(place, len(self.all) - 1)] for place in places.tolist()]


def entry(words: Words, number: int) -> dict[str, Any]:
    """A dataset."""
    said = words.draw(24)
    chosen = random.Random(number)
    shard = {"url": f"https://example.org/{number}.tar", "checksum": {"algorithm": "sha256", "digest": "ab" * 32}}
    return {
        "$type": ENTRY,
        "name": "-".join(said[:3]),
        "schemaRef": f"at://{account(0)}/{SCHEMA}/Picture:1.{chosen.randrange(SCHEMAS)}.0",
        "createdAt": f"2026-{chosen.randint(1, 9):02}-{chosen.randint(1, 28):02}T00:00:{number % 60:02}.{number % 1000:03}Z",
        "storage": {"$type": "science.alt.dataset.storageHttp", "shards": [shard]},
        "description": " ".join(said[3:20]),
        "tags": list(dict.fromkeys(said[20:])),
        "license": chosen.choice(LICENSES),
        "size": {"samples": 10 ** chosen.randrange(8), "bytes": 10 ** chosen.randrange(3, 13)},
    }


def account(number: int) -> Did:
    """A DID."""
    digits = "".join("abcdefghijklmnopqrstuvwxyz234567"[number >> shift & 31] for shift in range(0, 120, 5))
    return Did(f"did:plc:{digits}")


def fill(replica: Replica, count: int, seed: int) -> float:
    """Bring a replica so many datasets; seconds for each that the database took."""
    key, words, taken = PrivateKey.generate("k256"), Words(seed), 0.0
    for number in range(count // ACCOUNT):
        first = number * ACCOUNT
        values = {f"{ENTRY}/{index:08}": entry(words, index) for index in range(first, first + ACCOUNT)}
        if number == 0:
            versions = [Schema.of(Picture, version=f"1.{minor}.0") for minor in range(SCHEMAS)]
            values |= {f"{SCHEMA}/{schema.rkey}": schema.to_record() for schema in versions}
        records = {place: cbor.encode(value) for place, value in values.items()}
        root, nodes = mst.build({place: Cid.of_cbor(block) for place, block in records.items()})
        commit = Commit.sign(key, account(number), Tid.now(), root)
        brought = {**nodes, **{Cid.of_cbor(block): block for block in records.values()}}
        proven, now = ProvenCommit(commit.cid, commit, {}), time.time_ns() // 1000
        began = time.perf_counter()
        replica.write(lambda writing, p=proven, b=brought, n=now: writing.move(p, b, n))
        taken += time.perf_counter() - began
    return taken / count


def questions(seed: int) -> Iterator[tuple[str, str]]:
    """Yields questions, each with its kind; without end."""
    words, rng = Words(seed), random.Random(seed)
    texts = Words(1)  # those of the datasets themselves: what is asked for is there
    phrases = [" ".join(texts.draw(24)[3:5]) for _ in range(2000)]
    kinds: list[tuple[int, str, Callable[[], str]]] = [
        (20, "a word of any frequency", lambda: words.all[int(30_000 ** rng.random()) - 1]),
        (15, "a rare word", lambda: rng.choice(words.all[10_000:])),
        (10, "one of the 20 most frequent words", lambda: rng.choice(words.all[:20])),
        (15, "two words", lambda: f"{rng.choice(words.all[:500])} {words.all[int(30_000 ** rng.random()) - 1]}"),
        (5, "three words", lambda: " ".join(rng.sample(words.all[:200], 3))),
        (10, "a beginning", lambda: f"{rng.choice(words.all)[: rng.randint(2, 5)]}*"),
        (5, "a phrase", lambda: f'"{rng.choice(phrases)}"'),
        (10, "a word and a license", lambda: f"{rng.choice(words.all[:1000])} license:{rng.choice(LICENSES)}"),
        (4, "two filters", lambda: f"tag:{rng.choice(words.all[:100])} samples:>=1M"),
        (3, "filters, one to be absent", lambda: f"license:CC-BY -tag:{rng.choice(words.all[:100])}"),
        (3, "a type, and no word", lambda: "kind:dataset type:bytes"),
    ]
    while True:
        _, kind, make = rng.choices(kinds, [weight for weight, *_ in kinds])[0]
        yield kind, make()


def measure(replica: Replica, seed: int) -> dict[str, list[float]]:
    """The seconds of each answer, by kind of question."""
    found: dict[str, list[float]] = {}
    for number, (kind, text) in enumerate(itertools.islice(questions(seed), QUESTIONS + 50)):
        began = time.perf_counter()
        question = Question.parse(text)
        replica.read(lambda reading, q=question: search(reading.sql, q))
        if number >= 50:
            found.setdefault(kind, []).append(time.perf_counter() - began)
    return found


def peak_memory() -> float:
    """MiB."""
    status = Path("/proc/self/status")
    return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) / 1024 if status.exists() else float("nan")


def run(where: str | Path, count: int, seed: int, table: Table) -> float:
    """Fill a database, ask it, and write lines of the table; the time below which 99 of 100 answers came."""
    replica = Replica(open_connection(where, [REPLICA, TRUST, SEARCH], durable=False), [SearchIndex()])
    each = fill(replica, count, 1)
    if not isinstance(where, Path):
        replica.write(lambda writing: writing.sql.run("ANALYZE"))  # as its daemon does by and by
    found = measure(replica, seed)
    size = "" if not isinstance(where, Path) else f"{where.stat().st_size / 2**20:,.0f} MiB"
    name = "SQLite" if isinstance(where, Path) else "PostgreSQL"
    cells = partial(np.percentile, q=[50, 99])
    for kind, seconds in sorted(found.items()):
        table.add_row(name, f"{count:,}", kind, str(len(seconds)), *(f"{1e3 * s:.1f}" for s in cells(seconds)))
    together = [second for seconds in found.values() for second in seconds]
    middle, slow = cells(together)
    table.add_row(name, f"{count:,}", "[bold]all", str(len(together)), f"{1e3 * middle:.1f}", f"[bold]{1e3 * slow:.1f}")
    table.add_section()
    table.caption = f"{table.caption or ''}{name}, {count:,}: {1e3 * each:.2f} ms a record to write; {size} on disk; "
    table.caption += f"peak memory {peak_memory():,.0f} MiB\n"
    replica.close()
    return float(slow)


def main(options: argparse.Namespace) -> bool:
    console = Console()
    console.width = max(console.width, 110)
    table = Table(title="Answers of a search, in milliseconds  (goal: 99 of 100 below 20 at 100,000, 50 at 1,000,000)")
    for title in ("", "datasets", "question", "asked", "median", "99 of 100"):
        table.add_column(title, justify="left" if title in ("", "question") else "right")
    reached = True
    with tempfile.TemporaryDirectory(prefix="atdata-bench-", dir=options.folder) as place, ExitStack() as running:
        for count in [SMALL] if options.quick else [SMALL, LARGE]:
            reached &= run(Path(place) / f"{count}.sqlite", count, options.seed, table) <= GOALS[count]
        if PostgresServer.installed() and not options.quick:
            server = PostgresServer(Path(place) / "postgres")
            running.callback(server.stop, kill=True)
            server.start()
            run(server.url, SMALL, options.seed, table)
    console.print(table)
    return reached
