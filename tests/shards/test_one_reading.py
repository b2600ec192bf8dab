"""A tar has one reading: what readers are known to read differently is refused, not read our way."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdata.errors import ShardError
from atdata.shards.rows import read_rows, scan_rows, scan_shard
from atdata.shards.tar import BLOCK, read_members
from atdata.shards.writer import END
from support.oracles import VECTORS, needs_vectors

pytestmark = pytest.mark.usefixtures("either_form")

POSIX, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)


def header(name: str, size: int, kind: bytes = b"0", magic: bytes = POSIX, prefix: bytes = b"") -> bytes:
    raw = bytearray(BLOCK)
    raw[: len(name)] = name.encode()
    raw[100:124] = b"0000644\0" + b"0000000\0" * 2
    raw[124:148] = b"%011o\0" % size + b"00000000000\0"
    raw[148:156], raw[156:157], raw[257:265] = b" " * 8, kind, magic
    raw[345 : 345 + len(prefix)] = prefix
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def pax(*records: tuple[str, object], kind: bytes = b"x") -> bytes:
    data = b"".join(record(key, str(value)) for key, value in records)
    return header("PaxHeader", len(data), kind) + padded(data)


def long_name(name: str, kind: bytes = b"L") -> bytes:
    data = name.encode() + b"\0"
    return header("././@LongLink", len(data), kind, GNU) + padded(data)


def member(name: str, data: bytes, kind: bytes = b"0", magic: bytes = POSIX, prefix: bytes = b"") -> bytes:
    return header(name, len(data), kind, magic, prefix) + padded(data)


HIDDEN = padded(b"seen") + member("hidden.msgpack", b"unseen")


def ours(data: bytes) -> list[tuple[str, bytes]] | None:
    """The samples, by the scan and by the careful reader alike; `None` where they are refused."""
    readings: list[object] = []
    for read in (
        lambda file: [(f"{key}.msgpack", packed) for key, packed in read_rows(file, len(data), "x.tar")],
        lambda file: [
            (f"{s.key}.msgpack", data[s.offset : s.offset + s.size]) for s in scan_rows(file, len(data), "x.tar")
        ],
        lambda file: list(zip(*(part.tolist() for part in places(scan_shard(file, len(data), "x.tar"))), strict=True)),
    ):
        try:
            readings.append(read(io.BytesIO(data)))
        except ShardError:
            readings.append(None)
    rows, scanned, index = readings
    assert rows == scanned
    assert (index is None) == (rows is None)
    if isinstance(index, list) and isinstance(rows, list):
        assert [data[start : start + size] for start, size in index] == [packed for _, packed in rows]
    return rows  # type: ignore[return-value]


def places(index):
    return index.starts, index.sizes


def by_tarfile(data: bytes) -> list[tuple[str, bytes]] | str:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return [(info.name, archive.extractfile(info).read()) for info in archive if info.isreg()]
    except (tarfile.TarError, OSError, ValueError, AttributeError) as error:
        return repr(error)


def by_gnu_tar(data: bytes) -> list[tuple[str, bytes]] | str:
    """What `tar` lists and writes out, sample by sample in order; a complaint is one reading too."""
    with subprocess.Popen(["tar", "--version"], stdout=subprocess.PIPE) as version:
        assert b"GNU tar" in version.communicate()[0]
    # For each member: its name and size in bytes, then the bytes themselves.
    each = 'printf \'%s\\n%s\\n\' "$TAR_FILENAME" "$TAR_SIZE"; cat'
    done = subprocess.run(
        ["tar", "--extract", f"--to-command={each}", "--file=-"], input=data, capture_output=True, check=False
    )
    if done.returncode:
        return done.stderr.decode(errors="replace")
    found, rest = [], done.stdout
    while rest:
        name, _, rest = rest.partition(b"\n")
        size, _, rest = rest.partition(b"\n")
        found.append((name.decode(), rest[: int(size)]))
        rest = rest[int(size) :]
    return found


NAMES = st.sampled_from(["a.msgpack", "b.msgpack", "d/c.msgpack"])
SIZES = st.sampled_from([0, 4, BLOCK, len(HIDDEN)])
RECORDS = st.one_of(
    st.tuples(st.just("path"), NAMES),
    st.tuples(st.just("size"), SIZES),
    st.tuples(st.sampled_from(["mtime", "comment", "uid"]), st.just("7")),
)
EXTENSIONS = st.one_of(
    st.lists(RECORDS, min_size=1, max_size=3).map(lambda records: pax(*records)),
    NAMES.map(long_name),
    NAMES.map(lambda name: long_name(name, b"K")),
    st.lists(RECORDS, min_size=1, max_size=2).map(lambda records: pax(*records, kind=b"g")),
)
MEMBERS = st.builds(
    lambda extensions, *facts: b"".join(extensions) + member(*facts),
    st.lists(EXTENSIONS, max_size=3),
    st.sampled_from(["a.msgpack", "e.msgpack", "f.msgpack", "g.msgpack", "x/"]),
    st.sampled_from([b"", b"data", HIDDEN]),
    st.sampled_from([b"0", b"0", b"0", b"\0", b"7", b"5"]),
    st.sampled_from([POSIX, POSIX, GNU, V7]),
    st.sampled_from([b"", b"", b"folder", b"01234567012\x0001234567012\0"]),
)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=3).map(lambda members: b"".join(members) + END))
def test_whatever_is_read_all_read_alike(data):
    read = ours(data)
    if read is not None:
        assert read == by_tarfile(data)
        assert read == by_gnu_tar(data)


def test_a_plain_archive_is_read_alike_by_all():
    data = member("a.msgpack", b"1") + long_name("n" * 120 + ".msgpack") + member("b", b"22", magic=GNU) + END
    assert ours(data) == by_tarfile(data) == by_gnu_tar(data) == [("a.msgpack", b"1"), ("n" * 120 + ".msgpack", b"22")]


REPEATED = {
    "x+x": pax(("path", "a.msgpack")) * 2,
    "L+L": long_name("a.msgpack") * 2,
    "x+L": pax(("path", "a.msgpack")) + long_name("a.msgpack"),
    "L+x without a path": long_name("a.msgpack") + pax(("mtime", 7)),
    "x with a path twice": pax(("path", "a.msgpack"), ("path", "a.msgpack")),
    "x+g+K": pax(("path", "a.msgpack")) + pax(("comment", "c"), kind=b"g") + long_name("elsewhere", b"K"),
    "sizes": pax(("size", 4), ("path", "a.msgpack")) * 2,
}


@pytest.mark.parametrize("extensions", REPEATED.values(), ids=REPEATED)
def test_the_same_said_twice_is_read(extensions):
    data = extensions + member("e.msgpack", b"data") + END
    assert ours(data) == by_tarfile(data) == by_gnu_tar(data) == [("a.msgpack", b"data")]


CONTRADICTED = {
    "x+x": pax(("path", "a.msgpack")) + pax(("path", "b.msgpack")),
    "L+L": long_name("a.msgpack") + long_name("b.msgpack"),
    "x+L": pax(("path", "a.msgpack")) + long_name("b.msgpack"),
    "L+x": long_name("a.msgpack") + pax(("path", "b.msgpack")),
    "x+x without": pax(("path", "a.msgpack")) + pax(("mtime", 7)),
    "x without+x": pax(("mtime", 7)) + pax(("path", "a.msgpack")),
    "x with two paths": pax(("path", "a.msgpack"), ("path", "b.msgpack")),
    "size": pax(("size", len(HIDDEN))) + pax(("size", 0)),
    "size in one": pax(("size", len(HIDDEN)), ("size", 0)),
    "size, then none": pax(("size", 0)) + pax(("path", "a.msgpack")),
    "a global path": pax(("path", "a.msgpack"), kind=b"g"),
    "a global size": pax(("size", 0), kind=b"g"),
}


@pytest.mark.parametrize("extensions", CONTRADICTED.values(), ids=CONTRADICTED)
def test_what_contradicts_itself_is_refused(extensions):
    data = extensions + member("e.msgpack", HIDDEN) + END
    assert ours(data) is None


def test_a_hidden_member_is_not_to_be_seen():
    """`x(size=1024), x(size=0)`: readers that take the first skip what those that take the last show."""
    data = pax(("size", 1024)) + pax(("size", 0)) + header("e.msgpack", 1024) + HIDDEN[: 2 * BLOCK] + END
    assert ours(data) is None
    with pytest.raises(ShardError, match="more than one size"):
        list(read_rows(io.BytesIO(data), len(data), "x.tar"))


@pytest.mark.parametrize("magic", [GNU, V7], ids=["GNU", "v7"])
def test_a_folder_that_only_some_see_is_refused(magic):
    data = member("e.msgpack", b"data", magic=magic, prefix=b"folder") + END
    assert by_tarfile(data) != by_gnu_tar(data)
    assert ours(data) is None


def test_a_file_that_some_take_for_a_folder_is_refused():
    data = pax(("path", "a.msgpack")) + member("x/", HIDDEN, kind=b"\0") + END
    assert ours(data) is None


@needs_vectors
@pytest.mark.parametrize("path", sorted(VECTORS.glob("tar-*/**/*.tar")), ids=lambda path: path.stem)
def test_of_foreign_archives_too(path):
    """Their members are no samples, so each that is read at all is read by the careful reader alone."""
    data = path.read_bytes()
    try:
        read = [(found.name, content) for found, content in read_members(io.BytesIO(data), len(data), str(path))]
    except ShardError:
        return
    assert read == by_tarfile(data)
    assert read == by_gnu_tar(data)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_compressed_shard_says_so(compress, size):
    data = compress(member("a.msgpack", random.Random(0).randbytes(size)) + END)
    with pytest.raises(ShardError, match="compressed") as caught:
        scan_shard(io.BytesIO(data), len(data), "x.tar.gz")
    assert "Decompress it first" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed .zstd."),
        (b"PK\x03\x04" + bytes(600), "a zip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n", "Git LFS"),
        (b"/annex/objects/SHA256E-s10240--0.tar\n", "git-annex"),
    ],
)
def test_what_stands_in_place_of_a_shard_is_named(data, said):
    with pytest.raises(ShardError, match=said):
        scan_shard(io.BytesIO(data), len(data), "x.tar")


def test_a_name_may_begin_as_a_compressed_file_does():
    data = member("BZh.msgpack", b"data") + END
    assert ours(data) == [("BZh.msgpack", b"data")]
