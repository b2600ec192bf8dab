"""The strict tar reader: regular files only, every header proved, the end required.

Reads POSIX ustar, PAX and GNU long names (IEEE Std 1003.1, "ustar Interchange Format" and "pax Interchange
Format"). What it cannot read exactly it refuses; it never ends early in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from atdata.errors import ShardError, TruncatedShardError

BLOCK = 512
_ZERO = bytes(BLOCK)
_MAX_EXTENSION = 1 << 20  # a PAX header or GNU long name; a stranger does not choose our buffers
_REGULAR = (b"0", b"\0", b"7")
_DIRECTORY = b"5"
_PAX_LOCAL, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}
_PAX_REFUSED = ("GNU.sparse.", "SCHILY.realsize")
_PAX_USED = ("path", "size")
DECOMPRESS = "Decompress it first (gunzip, unxz, zstd -d): samples are found by where they are in a shard."
_FOREIGN = {
    b"\x1f\x8b": ("compressed (gzip)", DECOMPRESS),
    b"\x28\xb5\x2f\xfd": ("compressed (zstd)", DECOMPRESS),
    b"\xfd7zXZ\0": ("compressed (xz)", DECOMPRESS),
    b"BZh": ("compressed (bzip2)", DECOMPRESS),
    b"\x04\x22\x4d\x18": ("compressed (lz4)", DECOMPRESS),
    b"PK\x03\x04": ("a zip file", "Write its samples to shards with atdata.write_samples."),
    b"version https://git-lfs": ("a pointer of Git LFS", "Fetch its content: git lfs pull."),
    b"/annex/objects/": ("a pointer of git-annex", "Fetch its content: git annex get."),
}
"""The first bytes of files that are called shards and are none."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a shard: its name, where its bytes are, and where its first header is."""

    name: str
    offset: int
    size: int
    head: int

    @property
    def key(self) -> str:
        """The part of the name that samples are called by: up to the first dot of its last component."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.partition(".")[0]

    @property
    def extension(self) -> str:
        """The rest of the name, without that dot."""
        return self.name.rpartition("/")[2].partition(".")[2]


@dataclass
class _Extended:
    """The facts of extended headers about the member after them.

    Some readers take the first of several, some the last, and some all of them together: so all must say the same.

    Attributes:
        pax: the path and the size in each PAX header.
        long: each GNU name.
    """

    pax: list[dict[str, str]] = field(default_factory=list)
    long: list[str] = field(default_factory=list)

    def value(self, name: str, position: int, uri: str) -> str | None:
        """The one value of a record; `None` where there is none."""
        said = {records.get(name) for records in self.pax}
        if name == "path" and self.long:
            said = (said if len(said) > 1 else said - {None}) | set(self.long)
        if len(said) > 1:
            raise _damaged(uri, position, f"it has more than one {name}", ", ".join(sorted(map(repr, said)))[:200])
        return next(iter(said), None)

    def __bool__(self) -> bool:
        return any(self.pax) or bool(self.long)


def read_members(file: BinaryIO, size: int, uri: str) -> Iterator[tuple[Member, bytes]]:
    """The regular files of a tar with their bytes, in order.

    Args:
        file: a seekable stream at its start.
        size: how many bytes it has.
        uri: what to call it in errors.

    Raises:
        TruncatedShardError: the end-of-archive mark, or bytes before it, are missing.
        ShardError: a header is damaged, or the member is not a regular file or folder.
    """
    for member in scan_members(file, size, uri):
        data = file.read(member.size)
        if len(data) != member.size:
            raise cut_off(uri, member.offset + len(data))
        yield member, data


def scan_members(file: BinaryIO, size: int, uri: str) -> Iterator[Member]:
    """The regular files of a tar, in order; at each one the stream stands at its first byte."""
    position = head = 0
    extended = _Extended()
    while True:
        file.seek(position)
        header = file.read(BLOCK)
        if header == _ZERO:
            _check_end(file, position, extended, uri)
            return
        kind = header[156:157]
        length = _proved_length(header, position, uri)
        if kind in (_PAX_LOCAL, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            _read_extension(extended, file, kind, length, position, size, uri)
            position = _after(position, length, size, uri)
            continue
        member = _member(header, extended, length, position, head, uri)
        if kind not in _REGULAR and kind != _DIRECTORY:
            raise ShardError(
                f"a shard contains {_TYPES.get(kind, 'a member of an unknown type')}",
                uri=uri,
                path=member.name,
                actual=repr(kind),
                hint="A shard contains regular files only; write it again with atdata.write_samples.",
            )
        extended = _Extended()
        folder = kind == _DIRECTORY or (kind == b"\0" and member.name.endswith("/"))
        if kind == b"\0" and folder != header[:100].partition(b"\0")[0].endswith(b"/"):
            raise _damaged(uri, position, "one of its names is of a folder, the other of a file", member.name)
        if folder and member.size:
            raise ShardError("a folder in a shard has a size", uri=uri, path=member.name, actual=member.size)
        position = head = _after(position, member.size, size, uri)
        if not folder:
            file.seek(member.offset)
            yield member


def cut_off(uri: str, position: int) -> TruncatedShardError:
    """The error for a shard that ends where it should not."""
    return TruncatedShardError(
        "a shard ends before its end-of-archive mark", uri=uri, path=f"byte {position}", hint="Fetch or write it again."
    )


def _damaged(uri: str, position: int, what: str, actual: object = None) -> ShardError:
    return ShardError(
        f"a shard's header is damaged: {what}",
        uri=uri,
        path=f"byte {position}",
        actual=actual,
        hint="Fetch or write it again.",
    )


def _after(position: int, length: int, size: int, uri: str) -> int:
    """The block of the next header, once it is known that the payload is all there."""
    end = position + BLOCK + length
    if end > size:
        raise cut_off(uri, size)
    return end + -end % BLOCK


def _check_end(file: BinaryIO, position: int, extended: _Extended, uri: str) -> None:
    second = file.read(BLOCK)
    if len(second) < BLOCK:
        raise cut_off(uri, position + BLOCK + len(second))
    if extended:
        raise _damaged(uri, position, "an extended header has no member")
    rest = second
    while rest:
        if rest.count(0) != len(rest):
            raise ShardError(
                "a shard has bytes after its end-of-archive mark",
                uri=uri,
                path=f"byte {position}",
                hint="Archives that were joined end to end must be written anew.",
            )
        rest = file.read(1 << 20)


def _proved_length(header: bytes, position: int, uri: str) -> int:
    """The size that a whole header claims which its checksum proves."""
    try:
        if len(header) < BLOCK:
            raise cut_off(uri, position + len(header))
        return _parse_header(header, position, uri)
    except ShardError:
        if position == 0:
            for begin, (what, hint) in _FOREIGN.items():
                if header.startswith(begin):
                    raise ShardError(f"a shard is not a tar file but {what}", uri=uri, hint=hint) from None
        raise


def _parse_header(header: bytes, position: int, uri: str) -> int:
    """Prove a header by its checksum and give the size it claims."""
    stored = _number(header[148:156], position, uri, "checksum", signed=False)
    actual = sum(header) - sum(header[148:156]) + 8 * 32
    if stored != actual:
        raise _damaged(uri, position, "its checksum does not match", f"{stored}, not {actual}")
    magic = header[257:263]
    if magic not in (b"ustar\0", b"ustar ", bytes(6)):
        raise _damaged(uri, position, "its tar format is unknown", repr(magic))
    size = _number(header[124:136], position, uri, "size")
    if size < 0:
        raise _damaged(uri, position, "its size is negative", size)
    return size


def _number(field: bytes, position: int, uri: str, what: str, signed: bool = True) -> int:
    """An octal number, or GNU's base 256 for what octal cannot hold."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if signed and field[0] & 0x40 else value
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits and not all(48 <= digit < 56 for digit in digits):
        raise _damaged(uri, position, f"its {what} is not a number", repr(field))
    return int(digits or b"0", 8)


def _text(raw: bytes, position: int, uri: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged(uri, position, "its name is not UTF-8", repr(raw[:60])) from None
    if "\0" in text:
        raise _damaged(uri, position, "its name contains a NUL", repr(text[:60]))
    return text


def _member(header: bytes, extended: _Extended, length: int, position: int, head: int, uri: str) -> Member:
    name = extended.value("path", position, uri)
    prefix = header[345:500].partition(b"\0")[0]
    if prefix and header[257:263] != b"ustar\0":  # GNU has times there, others nothing; some take it for a folder
        raise _damaged(uri, position, "it has a prefix but is not a POSIX header", repr(prefix[:60]))
    if name is None:
        name = _text(header[:100].partition(b"\0")[0], position, uri)
        if prefix:
            name = f"{_text(prefix, position, uri)}/{name}"
    if not name:
        raise _damaged(uri, position, "it has no name")
    text = extended.value("size", position, uri)
    if text is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise _damaged(uri, position, "its PAX size is not a number", repr(text[:40]))
        length = int(text)
    return Member(name, position + BLOCK, length, head)


def _read_extension(
    extended: _Extended, file: BinaryIO, kind: bytes, length: int, position: int, size: int, uri: str
) -> None:
    """Take in the name and the size that an extended header gives to the member after it."""
    if length > _MAX_EXTENSION:
        raise _damaged(uri, position, "an extended header is too long", f"{length} bytes")
    _after(position, length, size, uri)
    data = file.read(length)
    if len(data) != length:
        raise cut_off(uri, position + BLOCK + len(data))
    if kind == _GNU_NAME:
        extended.long.append(_text(data.partition(b"\0")[0], position, uri))
    elif kind != _GNU_LINK:
        used = _used_records(data, position, uri)
        if kind == _PAX_LOCAL:
            extended.pax.append(used)
        elif used:
            raise _damaged(uri, position, "a global header sets the path or size of members", ", ".join(used))


def _used_records(data: bytes, position: int, uri: str) -> dict[str, str]:
    """The path and the size in a PAX header."""
    used: dict[str, str] = {}
    for key, value in _pax_records(data, position, uri):
        if key.startswith(_PAX_REFUSED):
            raise ShardError("a shard contains a sparse file", uri=uri, path=f"byte {position}", actual=key)
        if key in _PAX_USED and used.setdefault(key, value) != value:
            raise _damaged(uri, position, f"it has more than one {key}", f"{used[key]!r}, {value!r}"[:200])
    return used


def _pax_records(data: bytes, position: int, uri: str) -> Iterator[tuple[str, str]]:
    """PAX records: `"%d %s=%s\\n" % (length of the whole record, key, value)`."""
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + 20)
        digits = data[start:space] if space > 0 else b""
        end = start + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not (space < end <= len(data)) or data[end - 1 : end] != b"\n" or not equals or not key:
            raise _damaged(uri, position, "a PAX record is malformed", repr(data[start : start + 40]))
        name = _text(key, position, uri)
        # Only names are text for sure; other values may be any bytes and are not used.
        yield name, _text(value, position, uri) if name in _PAX_USED else ""
        start = end
