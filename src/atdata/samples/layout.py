"""Layouts: in which file of a sample each field stands, where a sample is one file a field, as WebDataset writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from atdata.errors import SampleError, UsageError
from atdata.samples import formats
from atdata.samples.formats import GZIP, RAW, Format, format_of
from atdata.samples.kinds import Array, Derived, DictOf, FieldType, ListOf, Misfit, Plain, Scalar, bare
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.media import EXTENSIONS, AudioOf, Encoded, ImageOf, VideoOf

_EXTENSION = re.compile(r"[^/|\0\s.\ud800-\udfff]+(\.[^/|\0\s.\ud800-\udfff]+)*")
_EXPECTED = "{field: extension}, such as {'image': 'jpg|jpeg|png', 'label': 'cls'}"
_WITH_NULL = (formats.JSON, formats.MSGPACK, formats.CBOR)
_IN_FILES = (*formats.JSON.extensions, *formats.MSGPACK.extensions, *formats.CBOR.extensions)


@dataclass(frozen=True)
class Layout:
    """The extensions of the file that each field stands in.

    Attributes:
        files: each field's name, with the extensions of which a sample has one.
        fallback: of a layout that a type implies, the extensions of its format for each field that may have them, where a
            sample has no file of the field's name.
        unclear: those that no field may have, as several could.
    """

    files: tuple[tuple[str, tuple[str, ...]], ...]
    fallback: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unclear: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Layout:
        """The layout that somebody gives, `{field: "jpg|jpeg"}`: several extensions with `|` between them, in any case.

        Raises:
            UsageError: it is malformed, or gives one file to two fields.
        """
        said: Any = given
        if not isinstance(said, Mapping) or not said:
            raise UsageError("a layout must name a file for each field", expected=_EXPECTED, actual=repr(said)[:80])
        files: dict[str, tuple[str, ...]] = {}
        owners: dict[str, str] = {}
        for name, text in said.items():
            extensions = [part.strip().lower() for part in text.split("|")] if isinstance(text, str) else []
            if not isinstance(name, str) or not extensions or not all(map(_EXTENSION.fullmatch, extensions)):
                raise UsageError(
                    "a layout is malformed", path=f"layout[{name!r}]", expected=_EXPECTED, actual=repr(text)[:80]
                )
            for extension in extensions:
                owner = owners.setdefault(extension.removesuffix(GZIP), name)
                if owner != name:
                    what = "a layout gives one file to two fields"
                    raise UsageError(what, path=f"layout[{name!r}]", actual=f"{extension}, as {owner!r}")
            files[name] = tuple(dict.fromkeys(extensions))
        return cls(tuple(files.items()))

    @classmethod
    def implied(cls, fields: Iterable[Field]) -> Layout:
        """The layout that a sample type implies where nobody gives one.

        A field stands in the file that has its name as extension, or as the first part of it (`seg.png` for `seg`). Else
        in the one file whose format is that of its type: `cls` for an int, `txt` for a str, `json` for a dict, `npy` for
        an array, `jpg`, `png` and others for an image. Where several fields have one type, that file is for the only one
        that every sample has, and for none of them where there are two.
        """
        declared = list(fields)
        own = {field.name: extensions_of(field.type) for field in declared}
        taken = {field.name.lower() for field in declared}
        named, alone, shared = [], [], []
        claimed: set[str] = set()
        for field in declared:
            rivals = [f for f in declared if f is not field and set(own[f.name]) & set(own[field.name])]
            free = tuple(extension for extension in own[field.name] if extension not in taken)
            lower = field.name.lower()
            named.append((field.name, (lower, *(f"{lower}.{extension}" for extension in own[field.name]))))
            if rivals and (not field.required or any(rival.required for rival in rivals)):
                shared.append((field.name, free))
            else:
                alone.append((field.name, free))
                claimed.update(free)
        unclear = ((name, tuple(e for e in free if e not in claimed)) for name, free in shared)
        return cls(tuple(named), tuple(alone), tuple(unclear))

    def check(self, fields: Sequence[Field]) -> None:
        """Check that a sample type can be read so.

        Raises:
            UsageError: it names a field that the type does not have, leaves out one that samples must have, or reads one
                from a pickle.
        """
        types = {field.name: field.type for field in fields}
        for name, extensions in self.files:
            if name not in types:
                raise UsageError(
                    "a layout names a field that the sample type does not have",
                    path=f"layout[{name!r}]",
                    expected=", ".join(types),
                )
            pickles = [e for e in extensions if format_of(e) is formats.PICKLE]
            if pickles and not _is_raw(types[name]):
                raise UsageError(
                    "a layout reads a field from a pickle, which may run any code",
                    path=f"layout[{name!r}]",
                    actual=pickles[0],
                    hint="Declare the field as bytes to get the file as it is, or leave it out.",
                )
        for field in fields:
            if field.required and field.name not in self.extensions:
                raise UsageError(
                    "a layout leaves out a field that every sample has", path=field.name, expected=_EXPECTED
                )

    @cached_property
    def extensions(self) -> dict[str, tuple[str, ...]]:
        """The extensions of each field, by name."""
        return dict(self.files)

    @cached_property
    def others(self) -> dict[str, tuple[str, ...]]:
        """The extensions that stand for a field where no file has its name."""
        return dict(self.fallback)

    @cached_property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """The extensions that could stand for several fields."""
        return dict(self.unclear)

    def files_for(self, name: str) -> tuple[str, ...]:
        """All extensions that may stand for a field."""
        return (*self.extensions.get(name, ()), *self.others.get(name, ()))

    def files_of(self, values: Mapping[str, Any], fields: Mapping[str, Field]) -> Iterator[tuple[str, bytes]]:
        """Yields the extension and the content of each file that a sample is written to. What is `None` has no file.

        Args:
            values: of the fields, by name.
            fields: of the sample type; none where samples have any.

        Raises:
            SampleError: a value cannot stand in such a file.
        """
        for name, extensions in self.files:
            value, field, extension = values.get(name), fields.get(name), extensions[0]
            if value is None and (field is None or field.missing() is None):
                continue
            try:
                if value is None and format_of(extension) not in _WITH_NULL:
                    raise SampleError(
                        "None would be read as the field's default",
                        expected=f"the default {field.missing()!r:.40}, or another value" if field else None,
                        hint="Choose json or mp for the field, which have null, or None as its default.",
                    )
                if isinstance(value, Encoded):
                    extension = _extension_for(value, extensions)
                kind = natural_type(extension) if field is None else field.type
                yield extension, file_writer(extension, kind)(value)
            except SampleError as error:
                error.path = (
                    name if not error.path else f"{name}{error.path if error.path[0] == '[' else '.' + error.path}"
                )
                raise

    def said(self) -> dict[str, str]:
        """The layout as it is given, and stands in records."""
        return {name: "|".join(extensions) for name, extensions in self.files}


def extensions_of(field_type: FieldType) -> tuple[str, ...]:
    """The extensions of files whose content tells that they hold a field of this type."""
    kind = bare(field_type)
    while not kind.extensions and isinstance(kind, Derived):
        kind = bare(kind.stored)
    if kind.extensions:
        return kind.extensions
    match kind:
        case Scalar("int"):
            return formats.INT.extensions
        case Scalar("str"):
            return formats.TEXT.extensions
        case Scalar("bytes"):
            return ()
        case Array():
            return formats.NPY.extensions
        case ListOf(item) if isinstance(item, Array):
            return formats.TENSORS.extensions
        case DictOf(value) if isinstance(value, Array):
            return formats.NPZ.extensions
    return _IN_FILES


def _is_raw(field_type: FieldType) -> bool:
    """True if a field is stored as bytes, so that any file may hold it."""
    kind = bare(field_type)
    while isinstance(kind, Derived):
        kind = bare(kind.stored)
    return kind == Scalar("bytes")


_MEDIA = (ImageOf(), AudioOf(), VideoOf())
_NATURAL: tuple[tuple[Format, FieldType], ...] = (
    (formats.INT, Scalar("int")),
    (formats.TEXT, Scalar("str")),
    (formats.NPY, Array()),
    (formats.NPZ, DictOf(Array())),
    (formats.TENSORS, ListOf(Array())),
    (formats.JSON, Plain()),
    (formats.MSGPACK, Plain()),
    (formats.CBOR, Plain()),
    (formats.PICKLE, Plain()),
)


def _extension_for(value: Encoded, extensions: Sequence[str]) -> str:
    """The one of some extensions that says what encoded bytes are; the first for bytes that do not say it themselves."""
    own = EXTENSIONS.get(value.media_type)
    found = [e for e in extensions if own is None or e.removesuffix(GZIP).rpartition(".")[2] in own]
    if own and not found:
        hint = f"Add it to the layout: {'|'.join([*extensions, own[0]])!r}."
        raise SampleError(
            "no file of the layout is for such bytes", expected=own[0], actual=value.media_type, hint=hint
        )
    return found[0]


def natural_type(extension: str) -> FieldType:
    """The type of what a file holds that no field declares, by its extension."""
    last = unzipped(extension)[0].rpartition(".")[2]
    found = format_of(last)
    if found is RAW:
        return next((kind for kind in _MEDIA if last in kind.extensions), Scalar("bytes"))
    return next(kind for known, kind in _NATURAL if known is found)


def _format_for(extension: str, field_type: FieldType) -> Format:
    """The format of a file that holds a field: what its extension says; of one that says nothing, the field's own."""
    if _is_raw(field_type):
        return RAW
    found = format_of(extension)
    return found if found is not RAW else next(map(format_of, extensions_of(field_type)), RAW)


@lru_cache(maxsize=4096)
def file_reader(extension: str, field_type: FieldType) -> Callable[[bytes], Any]:
    """The function from the bytes of a file to the value of a field. It raises `SampleError`, whose path is in the value."""
    inner, zipped = unzipped(extension)
    known = _format_for(inner, field_type)
    read, decode = known.read, field_type.decoder
    if known is RAW and field_type == Scalar("bytes") and not zipped:
        return lambda data: data
    single = known is formats.TENSORS and isinstance(bare(field_type), Array)

    def convert(data: bytes) -> Any:
        try:
            content = formats.decompressed(data) if zipped else data
        except ValueError as error:
            raise SampleError("a file cannot be unpacked (gzip)", actual=str(error)[:200]) from None
        try:
            stored = read(content)
            if single:
                (stored,) = stored
            return decode(stored)
        except Misfit as misfit:
            raise misfit.as_error("a file does not hold a value of its field") from None
        except SampleError:
            raise
        except (ValueError, RecursionError, OverflowError) as error:
            raise SampleError(f"a file is not {known.name}", actual=str(error)[:200]) from None

    return convert


@lru_cache(maxsize=4096)
def file_writer(extension: str, field_type: FieldType) -> Callable[[Any], bytes]:
    """The function from the value of a field to the bytes of a file. It raises `SampleError`."""
    inner, zipped = unzipped(extension)
    known = _format_for(inner, field_type)
    write, encode = known.write, field_type.encoder

    def convert(value: Any) -> bytes:
        try:
            data = write(encode(value))
        except Misfit as misfit:
            raise misfit.as_error("a value does not fit its field") from None
        except SampleError:
            raise
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            hint = "Choose another extension for the field; json, msgpack, npy and txt hold most kinds."
            raise SampleError(f"a value cannot be stored as {known.name}", actual=str(error)[:200], hint=hint) from None
        return formats.compressed(data) if zipped else data

    return convert


def unzipped(extension: str) -> tuple[str, bool]:
    """An extension without `gz` at its end, and whether that was there."""
    return ("", True) if extension == GZIP[1:] else (extension.removesuffix(GZIP), extension.endswith(GZIP))
