"""The index in a Redis server.

Every record is a field of one hash. The other keys are indexes over it: hashes where one thing is looked up, sorted
sets whose members all have score 0, so that they lie in the order of their bytes, where the last one or a range is. What is written
together is written by one script, which Redis runs alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from atdata.databases import check_format
from atdata.databases.servers import no_address, patiently, public_address, unreachable
from atdata.errors import AuthError, MissingExtraError, NetworkError, UsageError, bare
from atdata.local.database import FORMAT, FoundRow, RecordRow, nothing_there, still_needed, taken
from atdata.local.scripts import DELETE, INSERT, LAST, OF_SLOT, REPLACE, UNDER
from atdata.redaction import Secret, revealed

if TYPE_CHECKING:
    import redis

RedisClient: TypeAlias = "redis.Redis"

T = TypeVar("T")

_TIMEOUT = 60.0  # seconds for an answer
_ALL = -1  # no limit
_PAGE = 1000

# The braces keep them on one server of a cluster.
_RECORDS, _SLOTS, _CIDS, _NAMES, _CONTENTS, _RECENT, _REFERRING, _NUMBER, _FORMAT = (
    f"{{atdata}}:{part}"
    for part in ("records", "slots", "cids", "names", "contents", "recent", "referring", "number", "format")
)
_KEYS = [_RECORDS, _SLOTS, _CIDS, _NAMES, _CONTENTS, _RECENT, _REFERRING, _NUMBER, _FORMAT]


class RedisDatabase:
    """Rows in a Redis server. How much a crash of the server costs is the server's affair (see `appendfsync`).

    Args:
        where: `redis://`, `rediss://` or `unix://`, or a client that is connected.
    """

    def __init__(self, where: str | redis.Redis) -> None:
        self._where: Any = Secret(where) if isinstance(where, str) else _binary(where)
        self._begin()

    def _begin(self) -> None:
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._where, str):
            raise UsageError(
                "an index made from a Redis client cannot be sent to another process",
                hint="Make it from the URL instead.",
            )
        return {"_where": self._where}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def insert(self, rows: Sequence[RecordRow], after: RecordRow | None = None) -> None:
        """See `Database`."""
        last = [b"", b""] if after is None else [_tuple(after.collection, after.name), after.key.encode()]
        self._answer(self._eval(INSERT, _KEYS, [*last, *(part for row in rows for part in _arguments(row))]))

    def swap(self, row: RecordRow, cid: str) -> None:
        """See `Database`."""
        self.replace([(row, cid)], ())

    def replace(self, swaps: Sequence[tuple[RecordRow, str]], gone: Sequence[RecordRow]) -> None:
        """See `Database`."""
        arguments = [b"%d" % len(swaps)]
        for row, cid in swaps:
            stored = self._do(lambda client: client.hget(_RECORDS, _raw(row.key)))  # noqa: B023  done at once
            there = None if stored is None else _stored(stored)
            if there is None or there.cid not in (cid, row.cid):
                raise taken()
            arguments += [*_arguments(there), *_arguments(row)]
        self._answer(self._eval(REPLACE, _KEYS, [*arguments, *(part for row in gone for part in _arguments(row))]))

    def delete(self, rows: Sequence[RecordRow]) -> None:
        """See `Database`."""
        self._script(DELETE, rows)

    def _script(self, script: str, rows: Sequence[RecordRow]) -> None:
        self._answer(self._eval(script, _KEYS, [argument for row in rows for argument in _arguments(row)]))

    def _answer(self, answer: Any) -> None:
        match answer:
            case b"taken":
                raise taken()
            case b"nothing":
                raise nothing_there()
            case b"needed":
                raise still_needed()

    def get(self, key: str) -> FoundRow | None:
        """See `Database`."""
        return _found(self._do(lambda client: client.hget(_RECORDS, _raw(key))))

    def of_cid(self, collection: str, cid: str) -> FoundRow | None:
        """See `Database`."""
        return _first(self._last(_CIDS, _tuple(collection, cid), 1))

    def of_unique_key(self, collection: str, name: str, unique_key: str) -> FoundRow | None:
        """See `Database`."""
        return _found(self._eval(OF_SLOT, [_RECORDS, _SLOTS], [_tuple(collection, name, unique_key)]))

    def newest(self, collection: str, name: str) -> FoundRow | None:
        """See `Database`."""
        return _first(self._last(_NAMES, _tuple(collection, name), 1))

    def of_name(self, collection: str, name: str) -> list[FoundRow]:
        """See `Database`."""
        return self._last(_NAMES, _tuple(collection, name))

    def of_content(self, collection: str, name: str, content: str) -> FoundRow | None:
        """See `Database`."""
        return _first(self._last(_CONTENTS, _tuple(collection, name, content), 1))

    def recent(self, collection: str, limit: int, before: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        return self._last(_RECENT, _tuple(collection), limit, before)

    def under(self, collection: str, prefix: str, limit: int | None = None) -> list[FoundRow]:
        """See `Database`."""
        kind = _tuple(collection)
        low = kind + _escaped(prefix)
        bounds: list[object] = [kind, b"[" + low, b"(" + low + b"\xff", _ALL if limit is None else limit]
        return _all(self._eval(UNDER, [_RECORDS, _NAMES], bounds))

    def referring(self, key: str, collection: str) -> list[FoundRow]:
        """See `Database`."""
        return self._last(_REFERRING, _raw(key) + b"\0" + _tuple(collection))

    def faults(self) -> list[str]:
        """See `Database`."""
        found: list[str] = []
        rows, referring, cursor = set[bytes](), 0, 0
        while True:
            cursor, page = self._do(lambda client: client.hscan(_RECORDS, cursor, count=_PAGE))  # noqa: B023  done at once
            fresh = {key: value for key, value in page.items() if key not in rows}
            rows.update(fresh)
            referring += sum(_stored(value).target is not None for value in fresh.values())
            found += self._do(lambda client: _unindexed(client, fresh))  # noqa: B023
            if not cursor:
                break
        sizes = {index: len(rows) for index in (_NAMES, _CONTENTS, _CIDS, _RECENT)} | {_REFERRING: referring}
        for index, size in sizes.items():
            there = int(self._do(lambda client: client.zcard(index)))  # noqa: B023
            if there != size:
                found.append(f"{index} leads to {there} records, and should to {size}")
        slots = int(self._do(lambda client: client.hlen(_SLOTS)))
        return (
            found if slots == len(rows) else [*found, f"{_SLOTS} leads to {slots} records, and should to {len(rows)}"]
        )

    def risks(self) -> list[str]:
        """See `Database`."""
        try:
            said = self._do(lambda client: {**client.config_get("appendonly"), **client.config_get("maxmemory*")})
        except (AuthError, NetworkError):  # a server of somebody else's may not tell
            return []
        told = {_text(name): _text(value) for name, value in said.items()}
        found = []
        if told.get("appendonly") == "no":
            found.append("Redis keeps no log (appendonly no): a crash costs what was written since the last snapshot")
        if told.get("maxmemory", "0") != "0" and told.get("maxmemory-policy", "noeviction") != "noeviction":
            found.append("Redis may forget records when it is full: maxmemory-policy is not noeviction")
        return found

    def __len__(self) -> int:
        """The number of rows."""
        return int(self._do(lambda client: client.hlen(_RECORDS)))

    def __bool__(self) -> bool:
        return True

    def _last(self, index: str, low: bytes, limit: int = _ALL, before: int | None = None) -> list[FoundRow]:
        """The rows whose members of an index begin with some bytes, the last first."""
        high = low + (b"\xff" if before is None else struct.pack(">Q", before))
        return _all(self._eval(LAST, [_RECORDS, index], [b"(" + high, b"[" + low, limit]))

    def _eval(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        return self._do(lambda client: client.register_script(script)(keys, arguments))

    def _do(self, work: Callable[[Any], T]) -> T:
        errors = _driver().exceptions
        refusals = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)

        def lost(error: Exception) -> bool:
            return isinstance(error, errors.ConnectionError | errors.TimeoutError) and not isinstance(error, refusals)

        def starting(error: Exception) -> bool:
            return isinstance(error, errors.BusyLoadingError)

        try:
            return patiently(lambda: work(self._connected()), lost, lambda: None, starting)
        except refusals as error:
            raise AuthError(
                "Redis refuses the login", uri=self.address, hint="Check user, password and rights."
            ) from bare(error)
        except (errors.ConnectionError, errors.TimeoutError) as error:
            raise unreachable("Redis", self.address, error) from bare(error)
        except errors.RedisError as error:
            hint = "Is it full? See maxmemory, and use maxmemory-policy noeviction: an index must not forget."
            raise NetworkError("Redis refuses a request", uri=self.address, actual=str(error), hint=hint) from bare(
                error
            )

    def _connected(self) -> Any:
        if self._client is None:
            client = self._where
            if isinstance(client, str):
                try:
                    client = _driver().Redis.from_url(
                        revealed(client), socket_connect_timeout=10, socket_timeout=_TIMEOUT, retry=_once()
                    )
                except (ValueError, TypeError):
                    raise no_address("Redis", self._where) from None
            try:
                found = client.get(_FORMAT)
            except UnicodeError:  # a host that has no encoding
                raise no_address("Redis", self.address) from None
            check_format("the index", FORMAT, int(found or FORMAT))
            self._client = client
        return self._client

    @property
    def address(self) -> str:
        """The address of it, without password."""
        if not isinstance(self._where, str):
            facts = self._where.connection_pool.connection_kwargs
            return f"redis://{facts.get('host', 'localhost')}:{facts.get('port', 6379)}/{facts.get('db', 0)}"
        return public_address(self._where)

    def close(self) -> None:
        """See `Database`."""
        if self._client is not None and isinstance(self._where, str):
            self._client.close()
            self._client = None

    def __repr__(self) -> str:
        return f"RedisDatabase({self.address!r})"


def _driver() -> Any:
    try:
        import redis
    except ImportError as error:
        raise MissingExtraError.of("redis", "An index in Redis") from error
    return redis


def _once() -> Any:
    """The driver's own policy of trying again: not at all, for that is done here."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Retry(NoBackoff(), 0)


def _binary(client: Any) -> Any:
    """A client over the same server that gives bytes as they are."""
    facts = client.connection_pool.connection_kwargs
    if not facts.get("decode_responses"):
        return client
    pool = type(client.connection_pool)(
        connection_class=client.connection_pool.connection_class, **{**facts, "decode_responses": False}
    )
    return _driver().Redis(connection_pool=pool)


def _arguments(row: RecordRow) -> list[bytes]:
    """The arguments of the scripts for a row: its key, where it goes in each index, and the row itself."""
    sort_key = _escaped(row.sort_key) + b"\0"
    packed = msgspec.msgpack.encode(tuple(row))
    return [
        row.key.encode(),
        _tuple(row.collection, row.name, row.unique_key),
        _tuple(row.collection, row.cid),
        _tuple(row.collection, row.name) + sort_key,
        _tuple(row.collection, row.name, row.content) + sort_key,
        _tuple(row.collection),
        (row.target or "").encode(),
        packed,
    ]


def _tuple(*parts: str) -> bytes:
    """Parts as bytes that sort as the parts do, whatever characters are in them, and are never another tuple's."""
    return b"".join(_escaped(part) + b"\0" for part in parts)


def _escaped(part: str | bytes) -> bytes:
    return (part if isinstance(part, bytes) else _raw(part)).replace(b"\0", b"\0\xff")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _found(value: bytes | None) -> FoundRow | None:
    """A row, and before it its number, as they are stored."""
    if value is None:
        return None
    row = _stored(value)
    return FoundRow(int.from_bytes(value[:8], "big"), row.rkey, row.cid, row.value)


def _stored(value: bytes) -> RecordRow:
    """The row that some bytes are; one that holds no record, and is found by nothing, where they are none."""
    try:
        return RecordRow(*_ROWS.decode(value[8:]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _DAMAGED


_ROWS = msgspec.msgpack.Decoder(tuple[str, str, str, str, bytes, str, str, str | None, bytes])
_DAMAGED = RecordRow("", "", "", "", b"", "", "", None, b"")


def _unindexed(client: Any, rows: dict[bytes, bytes]) -> list[str]:
    """The parts of rows that indexes do not know, as they are stored."""
    asked = client.pipeline(transaction=False)
    indexes = (_SLOTS, _CIDS, _NAMES, _CONTENTS, _RECENT, _REFERRING)
    for key, value in rows.items():
        _, slot, *places, target, _ = _arguments(_stored(value))
        tail = value[:8] + key + struct.pack(">H", len(key))
        asked.hget(_SLOTS, slot)
        for index, place in zip((_CIDS, _NAMES, _CONTENTS, _RECENT), places, strict=True):
            asked.zscore(index, place + tail)
        asked.zscore(_REFERRING, target + b"\0" + places[-1] + tail)
        asked.hexists(_RECORDS, target)
    answers, found = iter(asked.execute()), []
    for key, value in rows.items():
        slot, *scores, there = (next(answers) for _ in range(len(indexes) + 1))
        needs = _stored(value).target is not None
        leads = [slot == key, *(score is not None for score in scores[:-1]), scores[-1] is not None or not needs]
        found += [f"{index} does not lead to {key!r}" for index, fine in zip(indexes, leads, strict=True) if not fine]
        if needs and not there:
            found.append(f"{key!r} refers to {_stored(value).target}, which is not there")
    return found


def _all(values: Sequence[bytes | None]) -> list[FoundRow]:
    return [found for value in values if (found := _found(value)) is not None]


def _first(found: Sequence[FoundRow]) -> FoundRow | None:
    return found[0] if found else None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
