"""The suite of what `LocalIndex` relies on in a database. Subclass a suite, provide a fixture `database` that gives an empty one."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from atdata.errors import ConflictError, NotFoundError
from atdata.local.database import Database, FoundRow, RecordRow, TakenError
from atdata.testing.conformance.ports import raises

NAMES = (
    *("a", "aa", "b", "A", "", " ", "a b", "a/b", "a\\b", 'a"b', "a'b", "a''b", "'; DROP TABLE atdata_records; --"),
    *("%", "_", "a%", "a_", "*", "a*", "?", "[a]", "[", "(", "-", "+", "{atdata}", "a:b", "\\x61", "$1", "%s", "%(a)s"),
    *("\0", "a\0", "a\0b", "\0\0", "a\n", "a\r\nb", "\t", "\x01", "\x7f", "at://a.b/x.lens/k", "at://a.b/x.lens/k-2"),
    *("é", "e\u0301", "ÿ", "ß", "名前", "🙂", "\U0010ffff", "\uffff", "a" * 900, "名" * 300, "a" * 899 + "b"),
)
"""Names are data: each of these is a name like any other."""


def row(name: str = "a", number: int = 0, **facts: Any) -> RecordRow:
    """A row that differs from others by its name and number."""
    plain = RecordRow(
        collection="x.kind",
        rkey=f"key-{number}",
        name=name,
        unique_key=f"slot-{number}",
        sort_key=b"1",
        content="content",
        cid=f"cid-{number}",
        target=None,
        value=f"value-{number}".encode(),
    )
    return plain._replace(**facts)


def keys(found: Iterable[FoundRow]) -> list[str]:
    """The record keys of what was found."""
    return [item.rkey for item in found]


def key(found: FoundRow | None) -> str | None:
    """The record key of what was found, if anything was."""
    return None if found is None else found.rkey


class DatabaseSuite:
    """Tests of a `Database`, by one user at a time."""

    def test_an_empty_one_has_nothing(self, database: Database) -> None:
        assert len(database) == 0
        assert database.get("x.kind/key-0") is None
        assert database.of_cid("x.kind", "cid-0") is None
        assert database.newest("x.kind", "a") is None
        assert database.of_name("x.kind", "a") == []
        assert database.of_unique_key("x.kind", "a", "slot-0") is None
        assert database.of_content("x.kind", "a", "content") is None
        assert database.recent("x.kind", 10) == database.under("x.kind", "") == []
        assert database.referring("x.kind/key-0", "x.kind") == []
        database.insert([])
        database.delete([])
        assert len(database) == 0

    def test_a_row_is_found_by_all_it_is_filed_under(self, database: Database) -> None:
        whole = row(value=bytes(range(256)))
        database.insert([whole])
        found = database.get(whole.key)
        assert found is not None
        assert (found.rkey, found.cid, found.value) == (whole.rkey, whole.cid, whole.value)
        assert type(found.value) is bytes
        assert database.of_cid("x.kind", "cid-0") == found
        assert database.newest("x.kind", "a") == found
        assert database.of_name("x.kind", "a") == [found]
        assert database.of_unique_key("x.kind", "a", "slot-0") == found
        assert database.of_content("x.kind", "a", "content") == found
        assert database.recent("x.kind", 10) == database.under("x.kind", "a") == [found]
        assert len(database) == 1

    def test_kinds_are_kept_apart(self, database: Database) -> None:
        other = row(collection="x.kinds")
        database.insert([row(), other])
        for kind in ("x.kind", "x.kinds"):
            assert keys(database.recent(kind, 10)) == keys(database.under(kind, "")) == ["key-0"]
        for kind in ("x.", "x", "", "x.kin", "x.kind/"):
            assert database.recent(kind, 10) == database.under(kind, "") == database.of_name(kind, "a") == []
            assert database.of_cid(kind, "cid-0") is None
        assert database.get(row().key) != database.get(other.key)

    def test_every_name_is_only_itself(self, database: Database) -> None:
        rows = [row(name, number, unique_key=name) for number, name in enumerate(NAMES)]
        database.insert(rows)
        for item in rows:
            assert key(database.newest("x.kind", item.name)) == item.rkey, repr(item.name)
            assert keys(database.of_name("x.kind", item.name)) == [item.rkey], repr(item.name)
            assert key(database.of_unique_key("x.kind", item.name, item.unique_key)) == item.rkey, repr(item.name)
        assert database.of_unique_key("x.kind", "a", "b") is None
        database.delete(rows[::2])
        for number, item in enumerate(rows):
            assert key(database.newest("x.kind", item.name)) == (item.rkey if number % 2 else None), repr(item.name)
        assert len(database) == len(rows) // 2

    def test_every_text_is_only_itself_as_content(self, database: Database) -> None:
        texts = [text for text in NAMES if "\0" not in text]
        rows = [row("a", number, content=text) for number, text in enumerate(texts)]
        database.insert(rows)
        for item in rows:
            assert key(database.of_content("x.kind", "a", item.content)) == item.rkey, repr(item.content)

    def test_every_prefix_finds_what_begins_with_it(self, database: Database) -> None:
        database.insert([row(name, number) for number, name in enumerate(NAMES)])
        ordered = sorted(NAMES, key=str.encode)
        for prefix in {*NAMES, *(name[:1] for name in NAMES), "名前名", "zzz"}:
            wanted = [f"key-{NAMES.index(name)}" for name in ordered if name.startswith(prefix)]
            assert keys(database.under("x.kind", prefix)) == wanted, repr(prefix)
            for limit in (0, 1, 2, 3, 1000):
                assert keys(database.under("x.kind", prefix, limit)) == wanted[:limit], repr(prefix)

    def test_a_limit_may_cut_within_a_name(self, database: Database) -> None:
        database.insert([row(name, 10 * i + j, sort_key=b"%d" % j) for i, name in enumerate("abc") for j in range(5)])
        whole = [f"key-{10 * i + j}" for i in range(3) for j in reversed(range(5))]
        for limit in range(17):
            assert keys(database.under("x.kind", "", limit)) == whole[:limit]

    def test_rank_comes_before_time(self, database: Database) -> None:
        ranks = [b"1", b"3", b"2", b"3", b"", b"2\0", b"2\0\0", b"2\x01", b"2a", b"10"]
        database.insert([row("a", number, sort_key=sort_key) for number, sort_key in enumerate(ranks)])
        order = sorted(range(len(ranks)), key=lambda number: (ranks[number], number), reverse=True)
        assert keys(database.of_name("x.kind", "a")) == [f"key-{number}" for number in order]
        assert keys(database.under("x.kind", "a")) == [f"key-{number}" for number in order]
        for number in order:
            assert key(database.newest("x.kind", "a")) == key(database.of_content("x.kind", "a", "content"))
            assert key(database.newest("x.kind", "a")) == f"key-{number}"
            database.delete([row("a", number, sort_key=ranks[number])])
        assert database.newest("x.kind", "a") is None

    def test_recent_rows_come_in_pages(self, database: Database) -> None:
        for number in range(10):
            database.insert([row("a", number), row("b", number, collection="x.other")])
        wanted, before, pages = [f"key-{number}" for number in reversed(range(10))], None, []
        while page := database.recent("x.kind", 3, before):
            pages.append(keys(page))
            before = page[-1].number
        assert pages == [wanted[:3], wanted[3:6], wanted[6:9], wanted[9:]]
        assert keys(database.recent("x.kind", 10)) == wanted
        assert database.recent("x.kind", 0) == []
        assert database.recent("x.kind", 10, 0) == []

    def test_later_rows_have_greater_numbers(self, database: Database) -> None:
        database.insert([row("a", number) for number in range(3)])
        database.delete([row("a", 2)])
        database.insert([row("a", 3)])
        numbers = [found.number for found in database.recent("x.kind", 10)]
        assert numbers == sorted(set(numbers), reverse=True)
        assert keys(database.recent("x.kind", 10)) == ["key-3", "key-1", "key-0"]

    def test_the_newest_of_equal_cids(self, database: Database) -> None:
        rows = [row("a", number, cid="the same") for number in range(3)]
        for item in rows:
            database.insert([item])
        for item in reversed(rows):
            assert key(database.of_cid("x.kind", "the same")) == item.rkey
            database.delete([item])
        assert database.of_cid("x.kind", "the same") is None

    def test_writing_again_changes_nothing(self, database: Database) -> None:
        one, two = row("a", 1), row("a", 2, target=row("a", 1).key)
        database.insert([one, two, one])
        before = database.recent("x.kind", 10)
        database.insert([one, two])
        database.insert([two])
        assert database.recent("x.kind", 10) == before
        assert len(before) == 2

    def test_what_is_not_there_of_it_is_written(self, database: Database) -> None:
        database.insert([row("a", 1)])
        database.insert([row("a", 1), row("a", 2), row("b", 3, target=row("a", 1).key)])
        assert keys(database.recent("x.kind", 10)) == ["key-3", "key-2", "key-1"]
        assert keys(database.referring(row("a", 1).key, "x.kind")) == ["key-3"]

    def test_a_key_is_taken_once(self, database: Database) -> None:
        database.insert([row("a", 1)])
        raises(TakenError, lambda: database.insert([row("b", 1, unique_key="other", cid="other")]))
        raises(TakenError, lambda: database.insert([row("b", 2), row("c", 2, unique_key="other", cid="other")]))
        assert keys(database.recent("x.kind", 10)) == ["key-1"]

    def test_a_slot_is_taken_once_under_a_name_of_a_kind(self, database: Database) -> None:
        database.insert([row("a", 1, unique_key="one")])
        raises(TakenError, lambda: database.insert([row("a", 2, unique_key="one")]))
        raises(TakenError, lambda: database.insert([row("b", 2, unique_key="one"), row("b", 3, unique_key="one")]))
        database.insert(
            [
                row("a", 2, unique_key="two"),
                row("b", 3, unique_key="one"),
                row("a", 4, unique_key="one", collection="x.y"),
            ]
        )
        database.delete([row("a", 1, unique_key="one")])
        database.insert([row("a", 5, unique_key="one")])
        assert key(database.of_unique_key("x.kind", "a", "one")) == "key-5"

    def test_all_or_nothing(self, database: Database) -> None:
        database.insert([row("a", 1)])
        many = [row("b", number) for number in range(2, 50)]
        for bad in (row("b", 1, cid="other"), row("a", 60, unique_key="slot-1"), row("b", 60, target="x.kind/absent")):
            for place in (0, 20, len(many)):
                raises((TakenError, NotFoundError), lambda: database.insert([*many[:place], bad, *many[place:]]))  # noqa: B023
                assert len(database) == 1
        assert keys(database.recent("x.kind", 100)) == keys(database.under("x.kind", "")) == ["key-1"]
        database.insert(many)
        assert len(database) == 1 + len(many)

    def test_the_first_thing_that_is_wrong_is_said(self, database: Database) -> None:
        taken, lost = row("b", 1, cid="other"), row("c", 3, target="x.kind/absent")
        follower = row("c", 4, target="x.kind/key-5")
        database.insert([row("a", 1)])
        raises(TakenError, lambda: database.insert([taken, lost]))
        raises(NotFoundError, lambda: database.insert([lost, taken]))
        raises(TakenError, lambda: database.insert([taken._replace(target="x.kind/absent")]))
        raises(TakenError, lambda: database.insert([row("a", 5, unique_key="slot-1"), follower]))
        assert len(database) == 1

    def test_rows_come_after_the_newest_of_their_name(self, database: Database) -> None:
        first, second, third = (row(number=number, sort_key=b"%d" % number) for number in range(3))
        raises(TakenError, lambda: database.insert([second], after=first))
        database.insert([first, row("b", 9, sort_key=b"9")])
        database.insert([second, row("c", 7)], after=first)
        raises(TakenError, lambda: database.insert([third], after=first))
        database.insert([third], after=second)
        assert keys(database.of_name("x.kind", "a")) == ["key-2", "key-1", "key-0"]

    def test_references_lead_somewhere(self, database: Database) -> None:
        base = row("a", 1)
        error = raises(NotFoundError, lambda: database.insert([row("b", 2, target=base.key)]))
        assert not isinstance(error, ConflictError)
        database.insert([base, row("b", 2, target=base.key)])
        raises(ConflictError, lambda: database.delete([base]))
        raises(ConflictError, lambda: database.delete([row("z", 9), base]))
        assert len(database) == 2
        database.delete([row("b", 2, target=base.key)])
        database.delete([base])
        assert len(database) == 0

    def test_what_refers_to_a_row(self, database: Database) -> None:
        one, longer = row("a", 1), row("a", 11)
        database.insert([one, longer])
        for number in range(2, 6):
            kind = "x.kind" if number % 2 else "x.other"
            database.insert([row("b", number, target=one.key, collection=kind)])
        database.insert([row("b", 6, target=longer.key)])
        assert keys(database.referring(one.key, "x.kind")) == ["key-5", "key-3"]
        assert keys(database.referring(one.key, "x.other")) == ["key-4", "key-2"]
        assert keys(database.referring(longer.key, "x.kind")) == ["key-6"]
        database.delete([row("b", 5, target=one.key)])
        assert keys(database.referring(one.key, "x.kind")) == ["key-3"]

    def test_a_chain_goes_together_in_any_order(self, database: Database) -> None:
        chain = [row("a", 1)]
        chain += [row("b", 2, target=chain[0].key), row("c", 3, target=row("b", 2).key), row("d", 4)]
        for order in ((0, 1, 2, 3), (2, 1, 0, 3), (1, 0, 3, 2), (0, 2, 1), (3, 2, 0, 1)):
            database.insert(chain)
            raises(ConflictError, lambda: database.delete([chain[1], chain[3]]))
            assert len(database) == len(chain)
            database.delete([chain[i] for i in order])
            assert len(database) == len(chain) - len(order)
            database.delete(chain)
            assert database.recent("x.kind", 10) == database.under("x.kind", "") == []

    def test_deleting_what_is_gone_is_harmless(self, database: Database) -> None:
        database.insert([row("a", 1)])
        database.delete([row("a", 2), row("a", 3, target="x.kind/absent")])
        database.delete([row("a", 1)])
        database.delete([row("a", 1)])
        assert len(database) == 0

    def test_another_row_under_the_key_stays(self, database: Database) -> None:
        old, new = row("a", 1), row("b", 1, unique_key="other", cid="other", value=b"other")
        database.insert([new, row("c", 2, target=new.key)])
        database.delete([old])
        assert key(database.newest("x.kind", "b")) == key(database.of_unique_key("x.kind", "b", "other")) == "key-1"
        assert len(database) == 2

    def test_rows_are_swapped_and_others_go_at_once(self, database: Database) -> None:
        base, other = row("a", 1), row("d", 4)
        label = row("b", 2, target=base.key)
        changed = label._replace(cid="new", value=b"new", target=None)
        database.insert([base, label, other, row("c", 3, target=other.key)])
        before = database.get(label.key)
        raises(ConflictError, lambda: database.replace([(changed, label.cid)], [other]))
        raises(TakenError, lambda: database.replace([(changed, "another")], [base]))
        raises(TakenError, lambda: database.replace([(changed, label.cid)], [base._replace(cid="another")]))
        raises(TakenError, lambda: database.replace([(row("z", 9), "cid-9")], [base]))
        assert database.get(label.key) == before
        assert keys(database.referring(base.key, "x.kind")) == ["key-2"]
        assert len(database) == 4
        for _ in range(2):
            database.replace([(changed, label.cid)], [base])
            found = database.get(label.key)
            assert found is not None
            assert before is not None
            assert (found.number, found.cid, found.value) == (before.number, "new", b"new")
            assert database.get(base.key) is None
            assert database.referring(base.key, "x.kind") == []
            assert len(database) == 3
        assert database.newest("x.kind", "b") == database.of_cid("x.kind", "new") == found
        assert database.of_cid("x.kind", label.cid) is None
        assert database.faults() == []
        database.replace([], [])

    def test_many_are_swapped_and_go(self, database: Database) -> None:
        bases = [row("a", number) for number in range(50)]
        labels = [row("b", 100 + number, target=base.key) for number, base in enumerate(bases)]
        database.insert([*bases, *labels])
        changed = [(label._replace(cid=f"new-{label.rkey}", target=None), label.cid) for label in labels]
        database.replace(changed[:30], bases[:30])
        assert len(database) == 70
        assert len(database.of_name("x.kind", "a")) == 20
        database.replace(changed, bases)
        assert keys(database.under("x.kind", "")) == [f"key-{149 - number}" for number in range(50)]
        assert database.faults() == []

    def test_large_and_many(self, database: Database) -> None:
        large = row("large", 0, value=bytes(3_000_000))
        many = [row(f"name-{number % 7}", number, target=large.key) for number in range(1, 1500)]
        database.insert([large, *many])
        assert len(database) == 1500
        assert database.get(large.key) == database.newest("x.kind", "large")
        assert len(database.recent("x.kind", 10_000)) == len(database.under("x.kind", "")) == 1500
        assert len(database.referring(large.key, "x.kind")) == 1499
        database.delete([large, *many])
        assert len(database) == 0

    def test_it_is_true_when_empty(self, database: Database) -> None:
        assert bool(database) is True

    def test_it_pickles(self, database: Database) -> None:
        database.insert([row("a", 1)])
        again: Database = pickle.loads(pickle.dumps(database))
        again.insert([row("a", 2)])
        assert keys(database.recent("x.kind", 10)) == keys(again.recent("x.kind", 10)) == ["key-2", "key-1"]
        again.close()

    def test_it_may_be_closed_at_any_time(self, database: Database) -> None:
        database.close()
        database.insert([row("a", 1)])
        database.close()
        database.close()
        assert key(database.newest("x.kind", "a")) == "key-1"

    def test_threads_share_it(self, database: Database) -> None:
        def work(first: int) -> None:
            for number in range(first, first + 25):
                database.insert([row("a", number)])
                assert database.get(f"x.kind/key-{number}") is not None

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(0, 4000, 1000)))
        assert len(database) == len(database.of_name("x.kind", "a")) == 100


class SharedDatabaseSuite(DatabaseSuite):
    """Tests of a `Database` that several processes share."""

    def test_of_those_who_come_after_one_row_one_is_first(self, database: Database) -> None:
        database.insert([row(number=0)])
        late = [row(number=number, sort_key=b"2") for number in range(1, 9)]
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(database.insert, [item], row(number=0)) for item in late]
        assert sorted(type(item.exception()).__name__ for item in done) == ["NoneType", *["TakenError"] * 7]
        assert len(database) == 2

    def test_a_fork_has_its_own_connection(self, database: Database) -> None:
        database.insert([row("a", 1)])
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=_insert_one, args=(database, number)) for number in range(2, 6)]
        for child in children:
            child.start()
        for _ in range(20):
            assert key(database.get("x.kind/key-1")) == "key-1"
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * 4
        assert sorted(keys(database.recent("x.kind", 10))) == [f"key-{number}" for number in range(1, 6)]

    def test_a_spawned_process_finds_it(self, database: Database) -> None:
        database.insert([row("a", 1)])
        child = multiprocessing.get_context("spawn").Process(target=_insert_one, args=(database, 2))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert keys(database.recent("x.kind", 10)) == ["key-2", "key-1"]


def _insert_one(database: Database, number: int) -> None:
    assert database.get("x.kind/key-1") is not None
    database.insert([row("a", number)])
