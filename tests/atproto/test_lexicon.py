"""Lexicons beyond the interop vectors: our own, hostile ones, and the places errors name."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.atproto.lexicon import LexiconCatalog
from atdata.errors import DataModelError, LexiconError
from support.oracles import LEXICONS, needs_lexicons

LINK = Cid.of_raw(b"shard")


def science() -> list[Any]:
    return [json.loads(path.read_text("utf-8")) for path in sorted((LEXICONS / "science").rglob("*.json"))]


def lexicon(main: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"lexicon": 1, "id": "com.example.thing", "defs": {"main": main, **others}}


def record(properties: dict[str, Any], key: str = "any", **members: Any) -> dict[str, Any]:
    return {"type": "record", "key": key, "record": {"type": "object", "properties": properties, **members}}


def field(spec: dict[str, Any], **others: Any) -> LexiconCatalog:
    return LexiconCatalog([lexicon(record({"x": spec}), **others)])


def accepts(catalog: LexiconCatalog, value: Any) -> bool:
    try:
        catalog.validate_record({"$type": "com.example.thing", "x": value})
    except LexiconError as error:
        assert error.path.startswith("x")  # noqa: PT017
        return False
    return True


ENTRY: dict[str, Any] = {
    "$type": "science.alt.dataset.entry",
    "name": "mnist",
    "schemaRef": "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/science.alt.dataset.schema/Mnist:1.0.0",
    "storage": {
        "$type": "science.alt.dataset.storageHttp",
        "shards": [
            {"url": f"https://example.com/{number}.tar", "checksum": {"algorithm": "sha256", "digest": "00"}}
            for number in range(5)
        ],
    },
    "createdAt": "2025-01-01T00:00:00.000Z",
    "metadata": b"\x80",
    "tags": ["images"],
    "size": {"samples": 60_000, "shards": 5},
    "contentMetadata": {"any": ["thing", 1]},
    "unheard-of": {"is": "let through"},
}
SCHEMA: dict[str, Any] = {
    "$type": "science.alt.dataset.schema",
    "name": "Mnist",
    "version": "1.0.0",
    "schemaType": "jsonSchema",
    "schema": {
        "$type": "science.alt.dataset.schema#jsonSchemaFormat",
        "draft": "draft-07",
        "content": {"type": "object"},
    },
    "createdAt": "2025-01-01T00:00:00.000Z",
    "$atdataSchemaVersion": 1,
}


@needs_lexicons
def test_the_public_lexicons_are_read() -> None:
    catalog = LexiconCatalog(science())
    assert len(catalog) == 15
    assert "science.alt.dataset.entry" in catalog
    assert "science.alt.dataset" not in catalog
    assert sorted(catalog) == sorted(doc["id"] for doc in science())


@needs_lexicons
def test_records_of_the_public_lexicons() -> None:
    catalog = LexiconCatalog(science())
    catalog.validate_record(ENTRY)
    catalog.validate_record(ENTRY, "science.alt.dataset.entry", "3jzfcijpj2z2a")
    catalog.validate_record(SCHEMA, rkey="Mnist:1.0.0")


@needs_lexicons
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("storage.shards[3].url", "not a uri"),
        ("storage.shards[3].url", "https://example.com/" + "x" * 2000),
        ("storage.shards[0].checksum.digest", 7),
        ("storage.shards", []),
        ("storage.$type", "science.alt.dataset.storageHttp#main"),
        ("storage.$type", None),
        ("name", "é" * 101),
        ("schemaRef", "at://did:plc:x/"),
        ("createdAt", "2025-01-01"),
        ("metadata", "text"),
        ("metadata", bytes(100_001)),
        ("tags", ["x"] * 31),
        ("tags[0]", 7),
        ("size.samples", -1),
        ("size.shards", 0),
        ("size.samples", True),
        ("contentMetadata", []),
    ],
)
def test_an_error_names_the_place(path: str, value: Any) -> None:
    entry = copy.deepcopy(ENTRY)
    here: Any = entry
    steps = [int(step) if step.isdigit() else step for step in path.replace("[", ".").replace("]", "").split(".")]
    for step in steps[:-1]:
        here = here[step]
    if path == "storage.$type" and value is None:
        del here["$type"]
    else:
        here[steps[-1]] = value
    with pytest.raises(LexiconError) as caught:
        LexiconCatalog(science()).validate_record(entry)
    assert caught.value.path == path


@needs_lexicons
def test_a_storage_yet_to_be_invented_passes_the_open_union() -> None:
    catalog = LexiconCatalog(science())
    catalog.validate_record({**ENTRY, "storage": {"$type": "com.example.storageTape", "reels": 3}})
    # Named by the union, but not in this catalog.
    few = LexiconCatalog(doc for doc in science() if doc["id"] != "science.alt.dataset.storageHttp")
    few.validate_record({**ENTRY, "storage": {"$type": "science.alt.dataset.storageHttp", "anything": 1}})


@needs_lexicons
def test_a_reference_to_a_lexicon_that_is_not_there_is_refused() -> None:
    few = LexiconCatalog(doc for doc in science() if doc["id"] != "science.alt.dataset.schemaType")
    with pytest.raises(LexiconError) as caught:
        few.validate_record(SCHEMA)
    assert (caught.value.path, caught.value.expected) == ("schemaType", "science.alt.dataset.schemaType")


@needs_lexicons
def test_methods() -> None:
    catalog = LexiconCatalog(science())
    method = "science.alt.dataset.resolveSchema"
    catalog.validate_params(method, {"handle": "alice.test", "schemaId": "Mnist"})
    answer = {"uri": ENTRY["schemaRef"], "cid": str(LINK), "record": SCHEMA}
    catalog.validate_output(method, answer)
    for params in ({"handle": "alice.test"}, {"handle": "alice.test", "schemaId": 7}):
        with pytest.raises(LexiconError):
            catalog.validate_params(method, params)
    for wrong in ({**answer, "record": ENTRY}, {**answer, "record": {}}, {**answer, "uri": "x"}):
        with pytest.raises(LexiconError):
            catalog.validate_output(method, wrong)
    with pytest.raises(LexiconError, match="no such lexicon"):
        catalog.validate_input(method, {})


def test_a_procedure() -> None:
    body = {"encoding": "application/json", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    catalog = LexiconCatalog([lexicon({"type": "procedure", "input": body, "output": {"encoding": "*/*"}})])
    catalog.validate_input("com.example.thing", {"n": 1})
    catalog.validate_output("com.example.thing", {"whatever": 1})
    catalog.validate_params("com.example.thing", {})
    with pytest.raises(LexiconError):
        catalog.validate_input("com.example.thing", {"n": "1"})


def test_a_record_names_its_type() -> None:
    catalog = field({"type": "integer"})
    catalog.validate_record({"$type": "com.example.thing"})
    for value, nsid in (({}, None), ({}, "com.example.thing"), ({"$type": "com.example.other"}, "com.example.thing")):
        with pytest.raises(LexiconError) as caught:
            catalog.validate_record(value, nsid)
        assert caught.value.path == "$type"
    with pytest.raises(LexiconError, match="no such lexicon"):
        catalog.validate_record({"$type": "com.example.other"})
    with pytest.raises(DataModelError):
        catalog.validate_record({"$type": "com.example.thing", "other": 0.5})
    with pytest.raises(DataModelError):
        catalog.validate_record([])


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("tid", "3jzfcijpj2z2a", "mnist"),
        ("nsid", "com.example.thing", "thing"),
        ("any", "Mnist:1.0.0", "a/b"),
        ("literal:self", "self", "other"),
    ],
)
def test_record_keys(key: str, good: str, bad: str) -> None:
    catalog = LexiconCatalog([lexicon(record({}, key=key))])
    catalog.validate_record({"$type": "com.example.thing"}, rkey=good)
    with pytest.raises(LexiconError, match="record key"):
        catalog.validate_record({"$type": "com.example.thing"}, rkey=bad)


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ({"type": "boolean"}, [True, False], [0, 1, None, "true"]),
        ({"type": "boolean", "const": True}, [True], [False]),
        ({"type": "integer"}, [0, -5], [True, "1", None]),
        ({"type": "integer", "minimum": 1, "maximum": 3}, [1, 3], [0, 4]),
        ({"type": "integer", "enum": [1, 5]}, [1, 5], [2, True]),
        ({"type": "string", "maxLength": 4}, ["", "abcd", "éé", "😀"], ["abcde", "ééé", "😀a"]),
        ({"type": "string", "minLength": 3}, ["abc", "éa"], ["ab", "é"]),
        ({"type": "string", "maxGraphemes": 2}, ["ab", "👩‍👩‍👦‍👦é"], ["abc"]),
        ({"type": "string", "minGraphemes": 2}, ["ab"], ["👩‍👩‍👦‍👦"]),
        ({"type": "string", "knownValues": ["a"]}, ["a", "b"], [1]),
        ({"type": "string", "enum": ["a"]}, ["a"], ["b"]),
        ({"type": "string", "const": "a"}, ["a"], ["b"]),
        ({"type": "string", "pattern": "^a$"}, ["b"], [1]),
        ({"type": "bytes", "minLength": 1, "maxLength": 2}, [b"a", b"ab"], [b"", b"abc", "a"]),
        ({"type": "cid-link"}, [LINK], [str(LINK), bytes(LINK)]),
        ({"type": "array", "items": {"type": "integer"}, "maxLength": 2}, [[], [1, 2]], [[1, 2, 3], ["a"], 1, {}]),
        ({"type": "unknown"}, [{}, {"a": [LINK]}, {"$type": "x"}], [1, [], None, LINK, b"a"]),
        ({"type": "ref", "ref": "#text"}, ["a"], ["abc", 1]),
        ({"type": "ref", "ref": "com.example.thing#text"}, ["a"], ["abc", 1]),
        (
            {"type": "ref", "ref": "#point"},
            [{"n": 1}, {"$type": "com.example.thing#point"}, {"$other": 1}],
            [{"$type": "com.example.thing"}, {"$type": "point"}, 1],
        ),
        ({"type": "ref", "ref": "#token"}, [], ["com.example.thing#token", {}]),
        ({"type": "ref", "ref": "#nothing"}, [], ["x"]),
        ({"type": "ref", "ref": "#main"}, [{"$type": "com.example.thing"}], [{}, {"$type": "com.example.other"}]),
        (
            {"type": "union", "refs": ["#point", "com.example.thing"]},
            [
                {"$type": "com.example.thing#point", "n": 1},
                {"$type": "com.example.thing"},
                {"$type": "com.example.new", "n": "?"},
            ],
            [{"n": 1}, {"$type": "com.example.thing#point", "n": "?"}, {"$type": "com.example.thing#main"}, 1, []],
        ),
        ({"type": "union", "refs": []}, [{"$type": "com.example.new"}], [{}]),
        (
            {"type": "union", "refs": ["#point", "com.example.gone"], "closed": True},
            [{"$type": "com.example.thing#point"}],
            [{"$type": "com.example.new"}, {"$type": "com.example.gone"}, {}],
        ),
    ],
)
def test_types(spec: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    catalog = field(
        spec,
        text={"type": "string", "maxLength": 2},
        token={"type": "token"},
        point={"type": "object", "properties": {"n": {"type": "integer"}}},
    )
    assert [accepts(catalog, value) for value in good] == [True] * len(good)
    assert [accepts(catalog, value) for value in bad] == [False] * len(bad)


def blob(**members: Any) -> dict[str, Any]:
    return {"$type": "blob", "ref": LINK, "mimeType": "image/png", "size": 10, **members}


@pytest.mark.parametrize(
    ("accept", "mime", "fits"),
    [
        (["image/*"], "image/png", True),
        (["image/*"], "imagery/png", False),
        (["image/png"], "image/png", True),
        (["image/jpeg", "image/png"], "image/png", True),
        (["*/*"], "image/png", True),
        (["image"], "image/png", False),
        (["*"], "image/png", False),
        ([], "image/png", False),
    ],
)
def test_the_types_of_blobs(accept: list[str], mime: str, fits: bool) -> None:
    assert accepts(field({"type": "blob", "accept": accept}), blob(mimeType=mime)) is fits


def test_blobs() -> None:
    catalog = field({"type": "blob", "maxSize": 10})
    assert accepts(catalog, blob())
    assert not accepts(catalog, blob(size=11))
    for value in ({}, LINK, "x", {"cid": str(LINK), "mimeType": "image/png"}):
        assert not accepts(catalog, value)


def test_members_required_and_null() -> None:
    spec = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    catalog = LexiconCatalog([lexicon(record(spec, required=["a"], nullable=["a"]))])
    for members in ({"a": 1}, {"a": None}, {"a": 1, "b": 2}, {"a": 1, "c": None}):
        catalog.validate_record({"$type": "com.example.thing", **members})
    for members, path in (({}, "a"), ({"a": 1, "b": None}, "b")):
        with pytest.raises(LexiconError) as caught:
            catalog.validate_record({"$type": "com.example.thing", **members})
        assert caught.value.path == path


@pytest.mark.parametrize(
    "doc",
    [
        None,
        [],
        "x",
        {},
        {**lexicon({"type": "token"}), "lexicon": True},
        {**lexicon({"type": "token"}), "lexicon": 2},
        {**lexicon({"type": "token"}), "id": "com.example"},
        {**lexicon({"type": "token"}), "defs": {}},
        {**lexicon({"type": "token"}), "defs": []},
        {**lexicon({"type": "token"}), "defs": {"": {"type": "token"}}},
        {**lexicon({"type": "token"}), "defs": {"a#b": {"type": "token"}}},
        lexicon({}),
        lexicon({"type": 7}),
        lexicon({"type": []}),
        lexicon({"type": "colour"}),
        lexicon({"type": "union", "refs": []}),
        lexicon({"type": "params"}),
        lexicon({"type": "permission"}),
        lexicon({"type": "token"}, other={"type": "query"}),
        lexicon({"type": "object"}),
        lexicon({"type": "object", "properties": []}),
        lexicon({"type": "object", "properties": {"a": None}}),
        lexicon({"type": "object", "properties": {"a": {"type": "token"}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "record"}}}),
        lexicon({"type": "object", "properties": {}, "required": ["a"]}),
        lexicon({"type": "object", "properties": {}, "nullable": "a"}),
        lexicon({"type": "object", "properties": {"a": {"type": "ref"}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "ref", "ref": "x"}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "ref", "ref": 7}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "union"}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "union", "refs": ["x"]}}}),
        lexicon({"type": "object", "properties": {"a": {"type": "union", "refs": [], "closed": True}}}),
        lexicon({"type": "array"}),
        lexicon({"type": "array", "items": {"type": "query"}}),
        lexicon({"type": "array", "items": {"type": "integer"}, "minLength": -1}),
        lexicon({"type": "array", "items": {"type": "integer"}, "minLength": 2, "maxLength": 1}),
        lexicon({"type": "string", "format": "colour"}),
        lexicon({"type": "string", "format": []}),
        lexicon({"type": "string", "maxLength": "1"}),
        lexicon({"type": "string", "maxLength": True}),
        lexicon({"type": "string", "enum": [1]}),
        lexicon({"type": "string", "enum": "a"}),
        lexicon({"type": "string", "const": "a", "default": "a"}),
        lexicon({"type": "integer", "minimum": 2, "maximum": 1}),
        lexicon({"type": "integer", "minimum": 0.5}),
        lexicon({"type": "integer", "default": "1"}),
        lexicon({"type": "blob", "accept": "image/*"}),
        lexicon({"type": "record", "key": "any"}),
        lexicon(record({}, key="other")),
        lexicon(record({}, key="literal:")),
        lexicon(record({}, key="literal:a/b")),
        lexicon({"type": "query", "parameters": {"type": "object", "properties": {}}}),
        lexicon({"type": "query", "parameters": {"type": "params", "properties": {"a": {"type": "blob"}}}}),
        lexicon(
            {
                "type": "query",
                "parameters": {"type": "params", "properties": {"a": {"type": "array", "items": {"type": "unknown"}}}},
            }
        ),
        lexicon({"type": "query", "output": {}}),
        lexicon({"type": "query", "output": {"encoding": "x", "schema": {"type": "integer"}}}),
        lexicon({"type": "query", "errors": [{}]}),
        lexicon({"type": "query", "errors": "x"}),
        lexicon({"type": "subscription"}),
        lexicon({"type": "subscription", "message": {"schema": {"type": "object", "properties": {}}}}),
        lexicon({"type": "permission-set"}),
        lexicon({"type": "permission-set", "permissions": [{"type": "permission"}]}),
        lexicon({"type": "permission-set", "permissions": [{"type": "token"}]}),
    ],
)
def test_what_is_no_lexicon_is_refused(doc: Any) -> None:
    with pytest.raises(LexiconError, match="not a lexicon"):
        LexiconCatalog([doc])


@pytest.mark.parametrize(
    "main",
    [
        {"type": "query", "message": 7, "input": 7},
        {"type": "object", "properties": {}, "record": 7, "items": 7},
        {"type": "string", "pattern": 7, "minimum": "x", "maximum": 5},
        {"type": "token", "ref": 7},
    ],
)
def test_members_of_other_types_are_ignored(main: dict[str, Any]) -> None:
    catalog = LexiconCatalog(
        [
            lexicon(
                record({"x": {"type": "ref", "ref": "#other"}}), other={"type": "object", "properties": {}, "record": 7}
            )
        ]
    )
    assert accepts(catalog, {"n": 1})
    LexiconCatalog([lexicon(main)])


def test_a_lexicon_comes_once() -> None:
    with pytest.raises(LexiconError, match="twice"):
        LexiconCatalog([lexicon({"type": "token"})] * 2)


def test_the_documents_are_left_as_they_were() -> None:
    doc = lexicon(record({"x": {"type": "ref", "ref": "#main"}}))
    before = copy.deepcopy(doc)
    LexiconCatalog([doc])
    assert doc == before


def test_nesting_is_bounded() -> None:
    spec: dict[str, Any] = {"type": "integer"}
    for _ in range(500):
        spec = {"type": "array", "items": spec}
    with pytest.raises(LexiconError):
        LexiconCatalog([lexicon(spec)])
    catalog = LexiconCatalog(
        [
            lexicon(
                record({"x": {"type": "ref", "ref": "#tree"}}),
                tree={"type": "array", "items": {"type": "ref", "ref": "#tree"}},
            )
        ]
    )
    value: Any = []
    for _ in range(120):
        value = [value]
    catalog.validate_record({"$type": "com.example.thing", "x": value})
    for _ in range(700):
        value = [value]
    with pytest.raises(DataModelError):
        catalog.validate_record({"$type": "com.example.thing", "x": value})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["", "a", "blob", "object", "union", "ref", "string"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "refs", "ref", "properties", "items", "$type", "closed", "format"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_junk_is_no_lexicon_and_no_crash(value: Any) -> None:
    for doc in (value, lexicon(value), lexicon({"type": "object", "properties": {"a": value}})):
        try:
            LexiconCatalog([doc])
        except LexiconError as error:
            assert error.what.startswith("not a lexicon")  # noqa: PT017


@needs_lexicons
@given(st.sampled_from(sorted(ENTRY)), json_values)
def test_junk_in_a_record_is_refused_or_let_through(name: str, value: Any) -> None:
    catalog = LexiconCatalog(CACHED)
    try:
        catalog.validate_record({**ENTRY, name: value})
    except (LexiconError, DataModelError) as error:
        assert error.path is not None or name == "$type"  # noqa: PT017


CACHED = science()
