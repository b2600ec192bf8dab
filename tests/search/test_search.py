"""A search finds what a plain walk over all records finds, in the same order, in either database, whatever was written."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atdata.atproto import cbor
from atdata.atproto.cid import Cid
from atdata.atproto.formats import parse_datetime
from atdata.databases import SqlTables, open_connection
from atdata.replica import Replica
from atdata.replica.columns import columns_of
from atdata.replica.tables import TABLES as REPLICA
from atdata.search import Condition, Question, SearchAnswer, SearchIndex, Term, answers, index, search, written
from atdata.search.columns import facts_of
from atdata.search.document import COLUMNS, Context, Document, document_of
from atdata.search.facets import COUNTED, Facet, FacetKind
from atdata.search.packing import rank_of
from atdata.search.tables import TABLES as SEARCH
from atdata.search.writing import DocumentWriter
from atdata.trust import TABLES as TRUST
from support.repositories import DIDS, ENTRY, LABEL, LENS, SCHEMA, RepositoryAccount

NOW = 1_800_000_000_000_000
WORDS = [
    "mnist",
    "Fashion",
    "ResNet50",
    "naïve",
    "学习",
    "a_b",
    "NOT",
    "NEAR",
    "o'brien",
    'x"y',
    "nul\x00",
    "\\",
    "of",
    "shoes",
    "n",
]
SCHEMA_KEYS = [f"{SCHEMA}/Point:1.0.0", f"{SCHEMA}/Cloud:1.0.0"]

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
moments = st.sampled_from(
    ["2020-01-01T00:00:00Z", "2021-05-05T05:05:05.5Z", "2999-01-01T00:00:00Z", "1950-01-01T00:00:00Z"]
)
schema_refs = st.builds("at://{}/{}".format, st.sampled_from(DIDS), st.sampled_from(SCHEMA_KEYS))


def without_none(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def entry(name: str, schema: str = f"at://{DIDS[0]}/{SCHEMA_KEYS[0]}", **members: Any) -> dict[str, Any]:
    digest = members.pop("digest", "ab" * 32)
    checksum = {"algorithm": "sha256", "digest": digest} if digest else {"algorithm": "none", "digest": ""}
    shard = {"url": "https://example.org/a.tar", "checksum": checksum}
    storage = {"$type": "science.alt.dataset.storageHttp", "shards": [shard]}
    made = {"$type": ENTRY, "name": name, "schemaRef": schema, "storage": storage}
    return without_none(**{**made, "createdAt": "2020-01-01T00:00:00Z", **members})


def schema(name: str, *fields: str, description: str | None = None) -> dict[str, Any]:
    properties = {field: {"type": "string", "description": f"the {field}"} for field in fields}
    content = {"title": name, "type": "object", "properties": properties, "required": list(fields)}
    return without_none(
        **{"$type": SCHEMA, "$atdataSchemaVersion": 1},
        name=name,
        version="1.0.0",
        schemaType="jsonSchema",
        schema={
            "$type": "science.alt.dataset.schema#jsonSchemaFormat",
            "draft": "draft-07",
            "content": content,
            **content,
        },
        description=description,
        createdAt="2020-01-01T00:00:00Z",
    )


def label(name: str, target: str) -> dict[str, Any]:
    return {"$type": LABEL, "name": name, "datasetUri": target, "createdAt": "2020-01-01T00:00:00Z"}


def lens(name: str, source: str, target: str) -> dict[str, Any]:
    code = {"repository": "https://example.org/r", "commit": "0" * 40, "path": "a.py:f", "language": "python"}
    ends = {"sourceSchema": source, "targetSchema": target}
    return {
        "$type": LENS,
        "name": name,
        **ends,
        "getterCode": code,
        "putterCode": code,
        "createdAt": "2021-01-01T00:00:00Z",
    }


entries = st.builds(
    entry,
    texts,
    schema_refs,
    description=st.none() | texts,
    tags=st.none() | st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    license=st.none()
    | st.sampled_from(["MIT", "mit", "CC-BY-4.0 OR MIT", "https://creativecommons.org/licenses/by/4.0/"]),
    size=st.none() | st.sampled_from([{"samples": 0}, {"samples": 999}, {"samples": 1000, "bytes": 10**9}]),
    createdAt=moments,
    digest=st.sampled_from(["", "ab" * 32]),
)
schemas = st.builds(schema, texts, st.sampled_from(["image", "CamelCase"]), description=st.none() | texts)
labels = st.builds(
    label,
    st.sampled_from(["latest", "naïve", "a b"]),
    st.builds("at://{}/{}/{}".format, st.sampled_from(DIDS), st.just(ENTRY), st.integers(0, 4)),
)
keyed = [
    st.tuples(
        st.builds("{}/{}".format, st.just(ENTRY), st.integers(0, 4)), st.none() | entries | st.just({"$type": ENTRY})
    ),
    st.tuples(st.sampled_from(SCHEMA_KEYS), st.none() | schemas),
    st.tuples(st.builds("{}/{}".format, st.just(LABEL), st.integers(0, 2)), st.none() | labels),
    st.tuples(st.just(f"{LENS}/0"), st.none() | st.builds(lens, texts, schema_refs, schema_refs)),
]
writes = st.lists(st.one_of(keyed), min_size=1, max_size=12).map(dict)
STEPS = st.lists(
    st.tuples(st.integers(0, 1), writes | st.sampled_from(["active", "suspended", "purge"])), min_size=1, max_size=6
)

ASKED = [word for word in WORDS if "\0" not in word]  # a question with one is refused
pieces = st.one_of(
    st.sampled_from(ASKED),
    st.sampled_from(
        [
            "mni*",
            "r*",
            "fash*",
            "学*",
            "5*",
            '"of shoes"',
            '"shoes mnist"',
            '"mnist of"*',
            '"n o"*',
            '"n of"',
            "camel",
            "the",
        ]
    ),
    st.sampled_from(["license:mit", "license:CC-BY", "license:CC-BY-4.0", "-license:MIT", "samples:<1k", "size:>=1G"]),
    st.sampled_from(
        ["label:latest", "-label:latest", "kind:dataset", "kind:schema,lens", "digests:none", "storage:http"]
    ),
    st.sampled_from([f"publisher:{DIDS[1]}", "field:image", "type:str", f"schema:at://{DIDS[0]}/{SCHEMA_KEYS[0]}"]),
    st.sampled_from(ASKED).map(lambda word: str(written("tag", word))),
    st.sampled_from(ASKED).map(lambda word: f"-{written('tag', word)}"),
    st.sampled_from(SCHEMA_KEYS).map(lambda key: f"compatible:at://{DIDS[0]}/{key}"),
)
QUESTIONS = st.lists(st.lists(pieces, max_size=3).map(" ".join), min_size=1, max_size=8)


# --- the same by a plain walk


@dataclass
class World:
    """Two accounts, and which of them is shown."""

    accounts: list[RepositoryAccount]
    shown: list[bool]
    seen: dict[str, int]

    def documents(self) -> dict[str, tuple[Document, int]]:
        """All documents from nothing, with their times, by address."""
        columns = {
            f"{account.uri}/{key}": columns_of(account.did, key, Cid.of_cbor(cbor.encode(value)), cbor.encode(value))
            for account, shown in zip(self.accounts, self.shown, strict=True)
            for key, value in account.records.items()
            if shown
        }

        def document(uri: str, context: Context) -> Document | None:
            return document_of(columns[uri].record, uri.split("/")[2], columns[uri].content, context)

        nothing = Context({}, {}, {})
        known = {
            uri: document(uri, nothing) for uri, c in columns.items() if c.kind == SCHEMA and c.validity != "invalid"
        }
        names: dict[str, list[str]] = {}
        for uri, found in sorted(columns.items()):
            target = None if found.target is None else str(found.target)
            if found.kind == LABEL and target and target.split("/")[2] == uri.split("/")[2]:
                names.setdefault(target, []).append(str(found.name))
        contents = {uri: columns[uri].content for uri in known}
        context = Context(known, contents, {uri: sorted(given) for uri, given in names.items()})  # type: ignore[arg-type]
        made = {uri: document(uri, context) for uri in columns}
        return {uri: (found, self.time(uri)) for uri, found in made.items() if found is not None}

    def time(self, uri: str) -> int:
        """The time that a record is sorted by."""
        account = next(account for account in self.accounts if uri.startswith(f"{account.uri}/"))
        created = account.records[uri.removeprefix(f"{account.uri}/")].get("createdAt")
        said = NOW * 2 if created is None else int(parse_datetime(created).timestamp() * 10**6)
        return min(said, self.seen[uri])

    def content(self, uri: str) -> str | None:
        """The content identity of a schema that is shown."""
        found = self.documents().get(uri)
        return None if found is None else next((f.value for f in found[0].facets if f.kind is FacetKind.content), None)


def words_in(column: str) -> list[str]:
    return [word for word in column.split() if word == "_" or word[0] != "_"]


def is_in(term: Term, words: list[str]) -> bool:
    """True if a term stands somewhere among words."""
    count = len(term.words)
    for at in range(len(words) - count + 1):
        *whole, last = words[at : at + count]
        *asked, end = term.words
        if whole == asked and (last.startswith(end) if term.prefix else last == end):
            return True
    return False


KEY = {FacetKind.bytes: "size"}


def holds(condition: Condition, document: Document) -> bool:
    has = {facet.value.casefold() for facet in document.facets if facet.kind is condition.kind}
    if condition.kind is FacetKind.license:
        has |= {facet.value.casefold() for facet in document.facets if facet.kind is FacetKind.family}
    return bool(has & {value.casefold() for value in condition.values}) == condition.present


def expected(world: World, question: Question) -> tuple[list[tuple[str, int]], dict[str, dict[str, int]]]:
    """What a question finds, each with its score, and the counts of facets."""
    found: list[tuple[int, int, int, str]] = []
    counts: dict[str, Counter[str]] = {}
    for uri, (document, time) in world.documents().items():
        if question.void or not all(holds(condition, document) for condition in question.conditions):
            continue
        if question.compatible is not None:
            content = world.content(str(question.compatible))
            if content is None or Facet(FacetKind.content, content) not in document.facets:
                continue
        scores = [
            max((worth for name, worth in COLUMNS.items() if is_in(term, words_in(getattr(document, name)))), default=0)
            for term in question.terms
        ]
        if all(scores):
            found.append((-sum(scores), -time, rank_of(uri), uri))
            for facet in document.facets:
                if facet.kind in COUNTED:
                    counts.setdefault(KEY.get(facet.kind, facet.kind.name), Counter())[facet.value] += 1
    ranked = [(uri, -score) for score, _, _, uri in sorted(found)]
    return ranked, {kind: dict(values) for kind, values in counts.items()}


def ask(replica: Replica, text: str | Question, **options: Any) -> SearchAnswer:
    question = Question.parse(text) if isinstance(text, str) else text
    return replica.read(lambda reading: search(reading.sql, question, **options))


def walk(replica: Replica, text: str, limit: int) -> Iterator[tuple[str, int]]:
    cursor = None
    while True:
        answer = ask(replica, text, limit=limit, cursor=cursor, facets=False)
        yield from ((str(hit.record.uri), hit.score) for hit in answer.hits)
        cursor = answer.cursor
        if cursor is None:
            return
        assert answer.hits


def check(world: World, replica: Replica, asked: list[str]) -> None:
    for text in ["", *asked]:
        ranked, counts = expected(world, Question.parse(text))
        answer = ask(replica, text, limit=100)
        assert [(str(hit.record.uri), hit.score) for hit in answer.hits] == ranked, text
        assert (answer.total, answer.exact, answer.cursor) == (len(ranked), True, None)
        said = {kind: {found.value: found.count for found in values} for kind, values in answer.facets.items()}
        assert said == counts, text
        for values in answer.facets.values():
            assert list(values) == sorted(values, key=lambda found: (-found.count, found.value))
        assert list(walk(replica, text, 2)) == ranked, text


def take(world: World, replica: Replica, who: int, step: Any, now: int) -> None:
    account = world.accounts[who]
    if step == "purge":
        replica.write(lambda writing: writing.purge(account.did, now))
        account.records.clear()
    elif isinstance(step, str):
        replica.write(lambda writing: writing.set_status(account.did, step, 1))
        world.shown[who] = step == "active"
    else:
        account.put(replica, step, now)
    there = {f"{account.uri}/{key}" for key in account.records}
    ours = {uri for uri in world.seen if uri.startswith(f"{account.uri}/")}
    world.seen = {uri: n for uri, n in world.seen.items() if uri not in ours - there}
    world.seen |= dict.fromkeys(there - ours, now)


def rows(replica: Replica) -> Any:
    """All that is derived, but for the numbers of facets, which stay."""
    tables = {"search_documents": "*", "search_shown": "id, head, codes", "search_labels": "*"}
    return replica.read(
        lambda r: {name: r.sql.all(f"SELECT {what} FROM {name} ORDER BY id") for name, what in tables.items()}
    )


def facets_kept(replica: Replica) -> dict[tuple[int, str], int]:
    """Facets that have a number, each with how many documents are said to have it."""
    found = replica.read(lambda r: r.sql.all("SELECT kind, value, uses FROM search_facets"))
    return {(kind, bytes(value).decode()): uses for kind, value, uses in found}


def facets_used(replica: Replica) -> dict[tuple[int, str], int]:
    """Facets that are counted, each with how many documents have it."""
    texts = replica.read(lambda r: r.sql.all("SELECT facets FROM search_documents"))
    return Counter((kind, value) for (text,) in texts for kind, value in json.loads(text) if FacetKind(kind) in COUNTED)


def catch_up(replica: Replica, limit: int = 500) -> int:
    turns = 0
    while replica.write(lambda writing: SearchIndex().catch_up(writing.sql, limit)):
        turns += 1
    return turns


def world() -> World:
    return World([RepositoryAccount(did) for did in DIDS], [True, True], {})


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(STEPS, QUESTIONS)
def test_a_search_finds_what_a_walk_over_all_records_finds(
    searched: Callable[[], Replica], steps: list[Any], asked: list[str]
) -> None:
    replica, there = searched(), world()
    for number, (who, step) in enumerate(steps):
        take(there, replica, who, step, NOW + number)
        check(there, replica, asked)
    before = rows(replica)
    replica.write(lambda writing: SearchIndex().rebuild(writing.sql))
    catch_up(replica, 3)
    assert rows(replica) == before
    check(there, replica, asked)
    assert facets_kept(replica) == facets_used(replica)


def test_a_search_that_comes_later_is_made_from_the_records(searched: Callable[[], Replica]) -> None:
    replica, there = searched(), world()
    silent = Replica(replica._connection)
    refs = f"at://{DIDS[1]}/{SCHEMA_KEYS[0]}"
    take(there, silent, 0, {f"{ENTRY}/{n}": entry(f"n{n}", refs) for n in range(5)}, NOW)
    take(there, silent, 0, {f"{LABEL}/0": label("latest", f"at://{DIDS[0]}/{ENTRY}/3")}, NOW)
    take(there, silent, 1, {SCHEMA_KEYS[0]: schema("Point", "image"), f"{ENTRY}/9": entry("hidden")}, NOW)
    take(there, silent, 1, "suspended", NOW)
    replica.write(lambda writing: SearchIndex().rebuild(writing.sql))
    catch_up(replica, 2)
    check(there, replica, ["image", "label:latest", "hidden"])
    take(there, replica, 1, "active", NOW)
    check(there, replica, ["image", "label:latest", "hidden"])


def test_what_depends_on_many_is_done_by_and_by_and_what_is_hidden_is_hidden_at_once(
    searched: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "AT_ONCE", 2)
    replica, there = searched(), world()
    refs = f"at://{DIDS[1]}/{SCHEMA_KEYS[0]}"
    take(there, replica, 0, {f"{ENTRY}/{n}": entry(f"n{n}", refs) for n in range(7)}, NOW)
    take(there, replica, 1, {SCHEMA_KEYS[0]: schema("Point", "image"), f"{ENTRY}/9": entry("other")}, NOW)
    assert ask(replica, "image kind:dataset").total == 2
    assert catch_up(replica, 2) > 2
    check(there, replica, ["image", "n3"])
    take(there, replica, 0, "suspended", NOW)
    check(there, replica, ["image", "n3"])
    catch_up(replica, 2)
    check(there, replica, ["image", "n3"])
    take(there, replica, 0, "active", NOW)
    assert ask(replica, f"publisher:{DIDS[0]}").total == 2
    catch_up(replica, 2)
    check(there, replica, ["image", "n3"])


def test_of_too_many_the_last_are_looked_at_and_the_answer_says_so(
    searched: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST", 5)
    replica, there = searched(), world()
    for number in range(5):
        take(there, replica, 0, {f"{ENTRY}/{number}": entry("mnist", tags=[f"t{number}"])}, NOW)
    assert (ask(replica, "mnist").total, ask(replica, "mnist").exact) == (5, True)
    for number in range(5, 8):
        take(there, replica, 0, {f"{ENTRY}/{number}": entry("mnist", tags=[f"t{number}"])}, NOW)
    answer = ask(replica, "mnist", limit=3)
    assert (answer.total, answer.exact) == (5, False)
    assert [count.value for count in answer.facets["tag"]] == ["t3", "t4", "t5", "t6", "t7"]
    last = [f"at://{DIDS[0]}/{ENTRY}/{number}" for number in range(3, 8)]
    assert [uri for uri, _ in walk(replica, "mnist", 2)] == sorted(last, key=rank_of)
    assert ask(replica, "mnist tag:t0").exact


def test_large_records_follow_their_account_and_schema_a_few_at_once(
    searched: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, there = searched(), world()
    refs = f"at://{DIDS[1]}/{SCHEMA_KEYS[0]}"
    take(there, replica, 0, {f"{ENTRY}/{number}": entry("mnist", refs, more="x" * 1000) for number in range(12)}, NOW)
    most = list[int]()
    sources = DocumentWriter.sources

    def counted(writer: DocumentWriter, numbers: list[int], known: Any) -> Any:
        most.append(len(numbers))
        return sources(writer, numbers, known)

    monkeypatch.setattr(index, "AT_ONCE_BYTES", 4000)
    monkeypatch.setattr(DocumentWriter, "sources", counted)
    account = replica.read(
        lambda reading: reading.sql.first("SELECT id FROM replica_accounts WHERE did = ?", DIDS[0])[0]
    )
    for visible in (False, True):
        replica.write(lambda writing, it=visible: SearchIndex().show(writing.sql, account, it))
        assert ask(replica, "mnist").total == (2 if visible else 0), "what is hidden is hidden at once"
        catch_up(replica)
        assert ask(replica, "mnist").total == (12 if visible else 0)
    take(there, replica, 1, {SCHEMA_KEYS[0]: schema("Point", "image")}, NOW)
    catch_up(replica)
    check(there, replica, ["mnist", "field:image"])
    assert max(most) == 2


def test_what_is_held_of_documents_goes_with_them(searched: Callable[[], Replica]) -> None:
    replica, there = searched(), world()
    take(there, replica, 0, {f"{ENTRY}/{number}": entry("mnist") for number in range(8)}, NOW)
    numbers = np.arange(100)
    read = lambda: len(replica.read(lambda reading: facts_of(reading.sql, numbers)).numbers)
    assert read() == 8
    take(there, replica, 0, {f"{ENTRY}/{number}": None for number in range(3)}, NOW)
    assert read() == 5


@pytest.mark.parametrize("limit", [1, 3])
def test_a_walk_gives_each_record_once_while_others_write(searched: Callable[[], Replica], limit: int) -> None:
    replica, there = searched(), world()
    names = ["mnist", "of mnist", "fashion"]
    made = {
        f"{ENTRY}/{n}": entry(names[n % 3], description="shoes mnist", createdAt=f"202{n % 2}-01-01T00:00:00Z")
        for n in range(12)
    }
    take(there, replica, 0, made, NOW)
    whole = list(walk(replica, "mnist", 100))
    found, cursor, gone, round_ = list[tuple[str, int]](), None, set[str](), 0
    while True:
        answer = ask(replica, "mnist", limit=limit, cursor=cursor)
        found += [(str(hit.record.uri), hit.score) for hit in answer.hits]
        cursor = answer.cursor
        if cursor is None:
            break
        round_ += 1
        left = [uri for uri, _ in whole if uri not in dict(found) and uri not in gone]
        lost = {left[-1]} if len(left) > 2 and round_ < 3 else set()
        gone |= lost
        more = {f"{ENTRY}/new{round_}-{n}": entry("mnist", createdAt=f"202{n}-01-01T00:00:00Z") for n in range(3)}
        take(there, replica, 1, more, NOW)
        take(there, replica, 0, {uri.partition(f"{DIDS[0]}/")[2]: None for uri in lost}, NOW)
    assert found == [(uri, score) for uri, score in whole if uri not in gone]


REFUSED = [
    base64.b64encode(text.encode()).decode()
    for text in (
        '[1,1,1,"a"]',
        "[1e99,1,1,1]",
        "[1,1,1,1.0]",
        "[true,1,1,1]",
        "[1,1,1,99999999999999999999]",
        "[1,1,1,1,1]",
    )
]


@pytest.mark.parametrize("cursor", ["", "x", "W10", "bm9wZQ", "é", "a" * 20_000, "WzEsMSwxXQ", "WzEsMSwxLA", *REFUSED])
def test_a_cursor_that_nobody_gave_is_refused(searched: Callable[[], Replica], cursor: str) -> None:
    with pytest.raises(ValueError, match="a cursor is none that was given out"):
        ask(searched(), "", cursor=cursor)


def test_a_page_is_bounded(searched: Callable[[], Replica]) -> None:
    replica = searched()
    for limit in (0, 101):
        with pytest.raises(ValueError, match="a page cannot have so many"):
            ask(replica, "", limit=limit)


def test_what_is_compatible_can_be_said_from_outside(searched: Callable[[], Replica]) -> None:
    replica, there = searched(), world()
    take(there, replica, 0, {SCHEMA_KEYS[0]: schema("Point", "image"), SCHEMA_KEYS[1]: schema("Cloud", "points")}, NOW)
    uris = [f"at://{DIDS[0]}/{key}" for key in SCHEMA_KEYS]
    take(there, replica, 1, {f"{ENTRY}/{n}": entry(f"n{n}", uri) for n, uri in enumerate(uris)}, NOW)
    text = f"kind:dataset compatible:{uris[0]}"
    assert [str(hit.record.key) for hit in ask(replica, text).hits] == [f"{ENTRY}/0"]
    contents = [Cid.parse(content) for uri in uris if (content := there.content(uri))]
    assert ask(replica, text, compatible=lambda sql, schema: contents).total == 2
    assert ask(replica, text, compatible=lambda sql, schema: []).total == 0


def test_documents_of_an_older_version_are_made_anew(searched: Callable[[], Replica], tmp_path: Path) -> None:
    made = {f"{ENTRY}/{number}": entry(f"n{number}") for number in range(7)}
    fresh, there = searched(), world()
    take(there, fresh, 0, made, NOW)
    older = SqlTables("search", SEARCH.steps[:2])
    silent = Replica(open_connection(tmp_path / "old.db", [REPLICA, TRUST, older], durable=False))
    take(world(), silent, 0, made, NOW)
    silent.write(lambda w: w.sql.run("INSERT INTO search_documents VALUES (1, 1, 'n', '', '', '', '[]')"))
    silent.write(lambda w: w.sql.run("INSERT INTO search_shown VALUES (1, ?, '')", "0" * 20))
    silent.close()
    replica = Replica(open_connection(tmp_path / "old.db", [REPLICA, TRUST, SEARCH], durable=False), [SearchIndex()])
    catch_up(replica)
    assert rows(replica) == rows(fresh)
    assert ask(replica, "n3").total == 1
    replica.close()
