"""Schemas that can be seen as another through verified lenses: found backwards, from the schema that is asked for.

Only lenses that somebody on a list has verified are looked at, so that nobody else's lenses, however many, make a
difference. Schemas are told apart by what they say, not by their addresses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from atdata.atproto.cid import Cid
from atdata.atproto.syntax import AtUri
from atdata.errors import IdentifierError
from atdata.records.nsids import LENS_VERIFICATION, SCHEMA
from atdata.replica import Reading, Statements
from atdata.replica.tables import SHOWN
from atdata.trust import VerificationJudge, VerifierList

MAX_LENSES = 4
"""Lenses on a way."""
MAX_REACHED = 200
"""Schemas from which a way is found; those with the shortest ways."""
MAX_VERIFIED = 2_000
"""Lenses that are looked at: those named by the newest verifications."""

_CHUNK = 400


class ReachingLens(Struct, frozen=True):
    """A lens on a way, in the version that was verified.

    Attributes:
        uri: its address.
        cid: its version.
        verifiers: who verified it, of those on the lists, each with a method.
    """

    uri: AtUri
    cid: Cid
    verifiers: tuple[tuple[str, str], ...]


Way: TypeAlias = tuple[ReachingLens, ...]
"""Lenses in the order in which a sample goes through them; none where a schema is the one that was asked for."""


def content_of(sql: Statements, schema: str) -> Cid | None:
    """The content identity of a schema that is held; `None` where it is not."""
    found = f"""SELECT r.content FROM replica_accounts a JOIN replica_records r ON r.account = a.id
        WHERE a.did = ? AND r.key = ? AND r.kind = ? AND {SHOWN} AND r.content IS NOT NULL"""  # noqa: S608
    did, _, key = schema.removeprefix("at://").partition("/")
    row = sql.first(found, did, key.encode("utf-8", "surrogatepass"), SCHEMA)
    return None if row is None else Cid.from_bytes(row[0])


def ways_to(sql: Statements, schema: AtUri, trusted: Sequence[VerifierList]) -> Mapping[Cid, Way]:
    """The content identities of schemas that can be seen as one through lenses, each with the shortest way there.

    A lens is on a way if, by each of the lists, enough of its verifiers say so, and none that the lens fails. Of several
    shortest ways the one with the lowest addresses is taken.

    Args:
        sql: in a transaction.
        schema: the one that is asked for.
        trusted: whose word counts; without any, no lens is on a way.
    """
    target = content_of(sql, str(schema))
    if target is None:
        return {}
    found: dict[Cid, Way] = {target: ()}
    edges, judge = _edges(sql, trusted), VerificationJudge(Reading(sql))
    here = [target]
    for _ in range(MAX_LENSES):
        further: list[Cid] = []
        for content in here:
            for lens, source in edges.get(content, ()):
                if source in found or len(found) >= MAX_REACHED:
                    continue
                verified = _verified(judge, lens, trusted)
                if verified is not None:
                    found[source] = (verified, *found[content])
                    further.append(source)
        here = further
    return found


def _verified(judge: VerificationJudge, lens: str, trusted: Sequence[VerifierList]) -> ReachingLens | None:
    """A lens, if each list has enough verifiers who say that it holds, and none who says that it fails."""
    cid, saying = judge.endorsement(lens, trusted)
    return None if cid is None else ReachingLens(AtUri(lens), cid, saying)


def _edges(sql: Statements, trusted: Sequence[VerifierList]) -> dict[Cid, list[tuple[str, Cid]]]:
    """The lenses that somebody on every list has said something of, each with the schema it leads from, by the one it leads to."""
    edges: dict[Cid, list[tuple[str, Cid]]] = defaultdict(list)
    contents: dict[str, Cid | None] = {}
    for lens in sorted(_verified_lenses(sql, trusted)):
        ends = _ends(sql, lens)
        for schema in ends or ():
            if schema not in contents:
                contents[schema] = content_of(sql, schema)
        if ends is not None and (source := contents[ends[0]]) and (target := contents[ends[1]]):
            edges[target].append((lens, source))
    return edges


def _verified_lenses(sql: Statements, trusted: Sequence[VerifierList]) -> set[str]:
    dids = [sorted(one.verifiers) for one in trusted]
    return set.intersection(*(set(_named(sql, some)) for some in dids)) if dids else set()


def _named(sql: Statements, dids: Sequence[str]) -> Iterator[str]:
    """Yields the lenses that verifications by some accounts name."""
    for some in (dids[start : start + _CHUNK] for start in range(0, len(dids), _CHUNK)):
        found = f"""SELECT r.target FROM replica_records r JOIN replica_accounts a ON a.id = r.account
            WHERE a.did IN ({", ".join("?" * len(some))}) AND r.kind = ? AND {SHOWN} AND r.target IS NOT NULL
            GROUP BY r.target ORDER BY max(r.id) DESC LIMIT ?"""  # noqa: S608
        yield from (bytes(target).decode() for (target,) in sql.all(found, *some, LENS_VERIFICATION, MAX_VERIFIED))


def _ends(sql: Statements, lens: str) -> tuple[str, str] | None:
    """The schemas from and to which a lens leads, if it is shown."""
    try:
        uri = AtUri(lens)
    except IdentifierError:
        return None
    found = f"""SELECT l.relation, l.target FROM replica_accounts a JOIN replica_records r ON r.account = a.id
        JOIN replica_links l ON l.record = r.id WHERE a.did = ? AND r.key = ? AND {SHOWN}"""  # noqa: S608
    links = dict(sql.all(found, str(uri.authority), f"{uri.collection}/{uri.rkey}".encode()))
    if not {"sourceSchema", "targetSchema"} <= links.keys():
        return None
    source, target = (bytes(links[name]).decode("utf-8", "surrogatepass") for name in ("sourceSchema", "targetSchema"))
    return source, target
