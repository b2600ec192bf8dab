"""Values of the data model, blocks of DAG-CBOR, and trees, for the tests of what reads them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from atdata.atproto.cbor import MAX_INTEGER
from atdata.atproto.cid import Cid
from support.oracles import OWN_VECTORS

DASL = OWN_VECTORS / "dasl-dagcbor" / "fixtures" / "cbor"

integers = st.one_of(
    st.integers(-1 - MAX_INTEGER, MAX_INTEGER),
    st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, -24, -25, -256, -257, -(2**32) - 1]),
)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: str(number) != "-0.0")
texts = st.text(max_size=10)
scalars = st.none() | st.booleans() | integers | floats | texts | st.binary(max_size=40)
cids = st.builds(Cid.from_digest, st.sampled_from(["raw", "dag-cbor"]), st.binary(min_size=32, max_size=32))
values = st.recursive(
    scalars | cids, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=10
)

COLLECTIONS = ["app.a.post", "app.a.posting", "app.b", "zz.z.z"]
keys = st.builds("{}/{}".format, st.sampled_from(COLLECTIONS), st.integers(0, 3000))
models = st.dictionaries(keys, st.integers(0, 50).map(lambda n: Cid.of_cbor(bytes([n]))), max_size=60)


def dasl_cases() -> list[dict[str, Any]]:
    return [case for path in sorted(DASL.glob("*.json")) for case in json.loads(path.read_text("utf-8"))]


def array(count: int, item: bytes) -> bytes:
    return b"\x9a" + count.to_bytes(4) + item * count if count > 65_535 else b"\x99" + count.to_bytes(2) + item * count


MANY = {
    "empty arrays": array(400_000, b"\x80"),
    "empty maps": array(400_000, b"\xa0"),
    "integers": array(400_000, b"\x00"),
    "arrays of empty arrays": array(1000, array(400, b"\x80")),
    "maps of empty arrays": array(1000, b"\xa1\x61a" + array(400, b"\x80")),
}
