"""Where shards come from: paths, globs, brace notation, URLs; and what a record says their bytes are."""

from __future__ import annotations

import hashlib
import os
import pickle
import tracemalloc
from pathlib import Path
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.cid import Cid
from atdata.errors import AddressError, DigestError, LimitError, ShardNotFoundError, UsageError
from atdata.records import ExternalStorage
from atdata.shards import Digest, FileSource, ShardRef, source_of
from atdata.shards.braces import MAX_LISTED, expand_braces, names_in
from atdata.shards.digest import ALGORITHMS
from atdata.shards.http import HttpSource
from atdata.shards.ports import DataSource
from atdata.shards.s3 import S3Source

braceexpand = pytest.importorskip("braceexpand").braceexpand

# --- brace notation --------------------------------------------------------------------------------------------------

plain = st.text(ascii_letters + "0123456789-_./ ", max_size=4)
number = st.integers(-3, 3).map(str) | st.integers(8, 11).map("{:03d}".format)
step = st.sampled_from(["", "..1", "..3", "..-2", "..0"])
ranges = st.builds("{{{}..{}{}}}".format, number, number, step)
letters = st.builds("{{{}..{}{}}}".format, st.sampled_from("YZab"), st.sampled_from("YZab"), step)
patterns = st.recursive(
    plain | ranges | letters,
    lambda inner: (
        st.lists(inner, max_size=3).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda p: f"{{{','.join(p)}}}")
    ),
    max_leaves=6,
)


@given(patterns)
def test_it_means_what_it_means_to_webdataset(pattern):
    assert expand_braces(pattern) == list(braceexpand(pattern))


def test_the_forms_that_people_write():
    assert expand_braces("d-{000008..000010}.tar") == ["d-000008.tar", "d-000009.tar", "d-000010.tar"]
    assert expand_braces("{train,val}-{0..1}.tar") == ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    assert expand_braces("{one}", "a{b,c}") == ["{one}", "ab", "ac"]
    assert len(expand_braces("{1..1000000}")) == 1_000_000


@pytest.mark.parametrize("pattern", ["{", "a{b", "a}{b", "{a,{b}", "{a}}", "}{"])
def test_braces_that_do_not_balance_are_refused(pattern):
    with pytest.raises(UsageError):
        expand_braces(pattern)


BOMBS = {
    "a long range": "{1..250001}",
    "a range beyond numbers": "{0..99999999999999999999}",
    "a range of 5,000 digits": "{0..%s}" % ("9" * 5000),
    "ranges side by side": "{1..1000}" * 3,
    "letters side by side": "{a..z}" * 6,
    "alternatives side by side": "{a,b}" * 18,
    "alternatives with one inside": "{a,b,c,d,e,f,g,h,i,j,{k}}" * 7,
    "ranges as alternatives": "{" + ",".join(["{1..999999}"] * 500) + "}",
    "ranges in alternatives": "{x,{1..1000}{1..1000}{1..1000}}",
    "braces in braces": "{" * 3000 + "}" * 3000,
    "alternatives in alternatives": "{a," * 1000 + "b" + "}" * 1000,
    "long names": "x" * 5000 + "{1..20000}",
    "a long pattern": "{a,b}" + "x" * 1_000_000,
    "nothing, many times": "{,}" * 30,
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_from_a_record_is_refused_within_bounds(name):
    with pytest.raises(LimitError):
        names_in([BOMBS[name]], MAX_LISTED)


def test_many_patterns_share_one_bound():
    assert sum(1 for _ in names_in(["{1..100000}"] * 2, MAX_LISTED)) == 200_000
    with pytest.raises(LimitError, match="too many") as caught:
        names_in(["{1..100000}"] * 3, MAX_LISTED)
    assert "300000" in (caught.value.actual or "")


def test_names_are_made_as_they_are_asked_for():
    """A million names of 300 characters: the first one costs no more than one."""
    names = names_in(["x" * 200 + "{1..1000}{1..1000}"])
    tracemalloc.start()
    first = next(names)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert first == "x" * 200 + "11"


def test_a_callers_own_patterns_may_stand_for_more():
    assert sum(1 for _ in names_in(["{1..1000000}"])) == 1_000_000
    with pytest.raises(LimitError):
        expand_braces("{1..10000001}")


@pytest.mark.timeout(10)
def test_the_addresses_of_a_record_are_counted_together():
    """Two addresses of 300 characters that stand for two million shards: refused before one of them is made."""
    address = "https://example.com/" + "d" * 250 + "/{0..999999}.tar"
    with pytest.raises(LimitError, match="too many"):
        ExternalStorage((address, address)).shards(None)
    assert len(ExternalStorage(("https://example.com/{00000..231348}.tar",)).shards(None)) == 231_349


# --- what people pass ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("a-0.tar", "a-1.tar", "a-2.tar", "b-[0].tar", "b-0.tar"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("a-0.tar", ["a-0.tar"]),
        (Path("a-0.tar"), ["a-0.tar"]),
        ("a-{0..2}.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        ("a-{2,0}.tar", ["a-2.tar", "a-0.tar"]),
        ("a-*.tar", ["a-0.tar", "a-1.tar", "a-2.tar"]),
        (["a-2.tar", Path("a-0.tar")], ["a-2.tar", "a-0.tar"]),
        (("a-?.tar", "b-0.tar"), ["a-0.tar", "a-1.tar", "a-2.tar", "b-0.tar"]),
        ("b-[0].tar", ["b-[0].tar"]),  # a file of that name wins over the glob
        ("sub/../a-0.tar", ["sub/../a-0.tar"]),
    ],
)
def test_a_path_in_any_form_names_its_shards_in_order(folder, where, names):
    source = source_of(where)
    assert isinstance(source, DataSource)
    assert [str(shard) for shard in source.shards] == names
    with source.open(source.shards[0], 2) as file:
        assert file.read() == Path(names[0]).name.encode()[2:]


def test_a_glob_counts_as_people_do_and_takes_shards(folder):
    for name in ("sub/c-10.tar", "sub/c-9.tar", "sub/c-9.manifest.json", "a-10.tar", "sub/{1,2}.tar"):
        (folder / name).write_bytes(b"")
    (folder / "sub" / "x.tar").mkdir()
    named = {"a-*": "a-0 a-1 a-2 a-10", "sub/c-*": "sub/c-9 sub/c-10", "**/c-*.tar": "sub/c-9 sub/c-10"}
    for pattern, expected in {**named, "sub/x*": "", "sub/{1,2}.tar": "sub/{1,2}"}.items():
        if expected:
            assert [shard.url.removesuffix(".tar") for shard in source_of(pattern).shards] == expected.split()
        else:
            with pytest.raises(ShardNotFoundError):
                source_of(pattern)


def test_a_file_url_is_a_path(folder):
    for prefix in ("file://", "FILE://"):
        assert source_of(f"{prefix}{folder}/a-0.tar").shards[0].url == f"{folder}/a-0.tar"
        assert source_of(f"{prefix}{folder}/b-%5B0%5D%2Etar").shards[0].url == f"{folder}/b-[0].tar"


@pytest.mark.parametrize("where", ["c.tar", "c-{0..2}.tar", "a-{0..3}.tar", "c-*.tar", ["a-0.tar", "c.tar"]])
def test_a_shard_that_is_not_there_is_named(folder, where):
    with pytest.raises(ShardNotFoundError) as caught:
        source_of(where)
    assert caught.value.uri
    assert isinstance(caught.value, FileNotFoundError)


def test_a_shard_that_has_gone_is_named(folder):
    source = source_of("a-0.tar")
    Path("a-0.tar").unlink()
    with pytest.raises(ShardNotFoundError):
        source.open(source.shards[0])


@pytest.mark.parametrize("where", [None, 3, [], [3], {"a": 1}, b"a.tar", object(), ["a-0.tar", "https://a.test/b.tar"]])
def test_what_names_no_shards_is_refused(folder, where):
    with pytest.raises(UsageError):
        source_of(where)


def test_a_url_names_its_source():
    http = source_of("https://a.test/{0..1}.tar")
    assert isinstance(http, HttpSource)
    assert [shard.url for shard in http.shards] == ["https://a.test/0.tar", "https://a.test/1.tar"]
    s3 = source_of("s3://bucket/{0..1}.tar")
    assert isinstance(s3, S3Source)
    assert [shard.url for shard in s3.shards] == ["s3://bucket/0.tar", "s3://bucket/1.tar"]
    for unknown in ("ftp://a.test/b.tar", "at://did:web:a.test/x.y.z/1", "s3://bucket", "s3:///key", "pipe:cat://x"):
        with pytest.raises((UsageError, ShardNotFoundError)):
            source_of(unknown)
    with pytest.raises(AddressError) as caught:
        source_of("https://user:secret@a.test/b.tar")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("where", ["a-*.tar", "https://a.test/b.tar", "s3://bucket/key"])
def test_a_source_pickles(folder, where):
    source = source_of(where)
    back = pickle.loads(pickle.dumps(source))
    assert back.shards == source.shards
    assert type(back) is type(source)


def test_a_source_is_a_source():
    source = FileSource((ShardRef("a"),))
    assert source_of(source) is source


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_a_record_may_name_is_computed(tmp_path, algorithm):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    expected = getattr(hashlib, algorithm)(b"abc" * 1_000_000).hexdigest()
    digest = Digest.of_file(tmp_path / "a", algorithm)
    assert digest == Digest(algorithm, expected) == Digest.of_checksum(digest.checksum)
    assert str(digest) == f"{algorithm}:{expected}"
    hasher = digest.hasher()
    hasher.update(b"abc" * 1_000_000)
    digest.check(hasher.hexdigest(), "a")
    with pytest.raises(DigestError) as caught:
        digest.check(Digest.of_file(os.devnull, algorithm).hex, "https://a.test/1.tar")
    assert caught.value.step == "shard digest"
    assert caught.value.uri == "https://a.test/1.tar"
    assert caught.value.expected == str(digest)


@pytest.mark.parametrize("name", ["sha256", "SHA256", "sha-256", "SHA-256"])
def test_a_checksum_is_read_however_its_algorithm_is_spelled(name):
    digest = Digest.sha256(b"abc")
    assert Digest.of_checksum({"algorithm": name, "digest": digest.hex.upper()}) == digest


@pytest.mark.parametrize(
    "checksum",
    [
        None,
        {},
        {"algorithm": "none", "digest": ""},
        {"algorithm": "sha256", "digest": ""},
        {"algorithm": "sha256", "digest": "none"},
        {"algorithm": "", "digest": "ab" * 32},
        {"algorithm": "md5", "digest": "ab" * 16},
        {"algorithm": "crc32", "digest": "abababab"},
        {"algorithm": "shake_128", "digest": "ab" * 32},
        {"algorithm": "sha256", "digest": "ab" * 31},
        {"algorithm": "sha256", "digest": "ab" * 32 + "\n"},
        {"algorithm": "sha256", "digest": "xy" * 32},
        {"algorithm": "sha256", "digest": "٠" * 64},
        {"algorithm": "sha512", "digest": "ab" * 32},
        {"algorithm": "sha256"},
        {"digest": "ab" * 32},
        {"algorithm": 256, "digest": 1},
        {"algorithm": None, "digest": b"ab" * 32},
    ],
)
def test_what_nothing_can_be_checked_against_is_no_digest(checksum):
    assert Digest.of_checksum(checksum) is None


def test_a_sha256_and_a_raw_cid_are_one():
    digest = Digest.sha256(b"abc")
    assert Digest.of_cid(digest.cid) == digest
    assert str(digest.cid) == str(Cid.from_digest("raw", hashlib.sha256(b"abc").digest()))
    with pytest.raises(DigestError):
        _ = Digest("sha512", "ab" * 64).cid
