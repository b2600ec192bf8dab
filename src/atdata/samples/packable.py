"""Sample types: `@packable`, `PackableSample`, and `DictSample` for data whose type is not known."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import sys
import time
import types
import typing
from collections.abc import Callable
from typing import Any, Self, TypeVar, dataclass_transform

import numpy as np

from atdata.errors import FieldTypeError
from atdata.plain import plain
from atdata.samples.codec import pack, unpack
from atdata.samples.fields import parse_field
from atdata.samples.kinds import Misfit
from atdata.samples.kinds.field import Field
from atdata.samples.kinds.kind import Codec
from atdata.samples.kinds.nested import SampleOf

T = TypeVar("T")

_RESERVED = ("packed", "as_wds", "from_bytes", "to_dict")
VALUE = "value"
"""The column of what is no sample: the results of `map` may be anything."""
_counter = itertools.count()


@dataclasses.dataclass(frozen=True)
class _Compiled:
    """The compiled form of a sample type."""

    fields: tuple[Field, ...]
    encoders: tuple[tuple[str, Codec], ...]
    decoders: tuple[tuple[Field, Codec], ...]
    make: Callable[[dict[str, Any]], Any]
    plain: bool


# Kept in the class's own __dict__: its compiled form, and the names its text annotations use.
SETS_FIELDS = "__atdata_sets_fields__"
"""The attribute of an `__init__` that sets fields and does nothing else."""
_COMPILED = "__atdata_compiled__"
_NAMES = "__atdata_names__"
_FIELDS = "__dataclass_fields__"


@dataclass_transform()
class PackableSample:
    """A typed row. Subclasses declare fields like a dataclass, with or without the `@dataclass` decorator.

    Values are checked against their declared types when a sample is packed and when it is unpacked.
    Two samples are equal when they are of one type and equal in every field, arrays bit for bit.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _remember_names(cls, sys._getframe(1))
        for base in cls.__bases__:
            if issubclass(base, PackableSample):  # a dataclass has the fields of bases that are dataclasses already
                _make_dataclass(base)
        for name in ("__eq__", "__repr__"):  # @dataclass adds what a class lacks, and its own are not for arrays
            if name not in cls.__dict__:
                setattr(cls, name, getattr(cls, name))

    def __new__(cls, /, *_args: Any, **_kwargs: Any) -> Self:
        """A sample not yet filled; `__init__` is the dataclass's."""
        _make_dataclass(cls)  # before type.__call__ looks up __init__
        return super().__new__(cls)

    @property
    def packed(self) -> bytes:
        """The sample as msgpack (formats.md 1).

        Raises:
            SampleError: a value does not fit its declared type; `path` names the field.
        """
        values = {}
        name = ""
        try:
            for name, encode in _compiled(type(self)).encoders:
                values[name] = encode(getattr(self, name))
        except Misfit as misfit:
            sample = type(self).__name__
            raise misfit.under(f"{sample}.{name}").as_error(f"a value does not fit {sample}") from None
        return pack(values)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """The sample in msgpack bytes. Fields this type does not declare are passed over.

        Raises:
            SampleError: the bytes are no sample of this type; `path` names the field.
        """
        stored = unpack(data)
        values = {}
        try:
            for field, decode in _compiled(cls).decoders:
                if field.name in stored:
                    values[field.name] = decode(stored[field.name])
                elif field.required:
                    raise Misfit(str(field.type), "no such field")
                else:
                    values[field.name] = field.missing()
        except Misfit as misfit:
            path = f"{cls.__name__}.{field.name}"
            raise misfit.under(path).as_error(f"stored bytes are not a valid {cls.__name__}") from None
        sample: Self = _compiled(cls).make(values)
        return sample

    @property
    def as_wds(self) -> dict[str, Any]:
        """The sample as `webdataset.TarWriter.write` takes it: `{"__key__": str, "msgpack": bytes}`.

        The key is unique and sorts by the time it was made; put your own over it for shards that are the
        same each time: `{**sample.as_wds, "__key__": f"{i:06d}"}`.
        """
        return {"__key__": f"{time.time_ns():016x}-{next(_counter) & 0xFFFFFF:06x}", "msgpack": self.packed}

    def to_dict(self) -> dict[str, Any]:
        """The values of its fields by name; samples in fields stay samples."""
        return {field.name: getattr(self, field.name) for field in fields_of(type(self))}

    @classmethod
    def _as_field_type(cls) -> SampleOf:
        """The kind of a field whose values are samples of this type."""
        return SampleOf(cls.__name__, fields_of(cls), cls, maker_of(cls))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(f.type.same(getattr(self, f.name), getattr(other, f.name)) for f in fields_of(type(self)))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{f.name}={brief(getattr(self, f.name))}" for f in fields_of(type(self)))
        return f"{type(self).__name__}({shown})"


@dataclass_transform()
def packable(cls: type[T]) -> type[T]:
    """Make a sample type of a class that declares fields.

    The result is a dataclass and a `PackableSample`. Field types: `str`, `int`, `float`, `bool`, `bytes`,
    `list[T]`, `dict`, `NDArray[...]` in any spelling, and each of them `| None`.
    Type checkers do not see the base class that is added: `class Digit(PackableSample)` is the same with it.

    Example:
        >>> import atdata
        >>> @atdata.packable
        ... class Digit:
        ...     label: int
        ...     note: str | None = None
        >>> Digit.from_bytes(Digit(3).packed)
        Digit(label=3, note=None)

    Raises:
        FieldTypeError: a field has a type that no sample can hold.
    """
    _remember_names(cls, sys._getframe(1))
    if not issubclass(cls, PackableSample):
        _make_dataclass(cls)
        data: Any = cls
        namespace: dict[str, Any] = {
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "__doc__": cls.__doc__,
        }
        if data.__dataclass_params__.eq:  # it was decorated with @dataclass, whose comparison is not for arrays
            namespace["__eq__"] = PackableSample.__eq__
        cls = types.new_class(cls.__name__, (data, PackableSample), {}, lambda ns: ns.update(namespace))
        setattr(cls, _FIELDS, dict(vars(data)[_FIELDS]))  # it is one already: _make_dataclass has nothing to do
    _make_dataclass(cls)
    try:
        _compiled(cls)
    except FieldTypeError as error:
        if not isinstance(error.__cause__, NameError):  # it may name what is defined further down; first use will tell
            raise
    return cls


def fields_of(sample_type: type) -> tuple[Field, ...]:
    """The fields of a sample type, in order.

    Raises:
        FieldTypeError: it is no sample type, or a field has a type that no sample can hold.
    """
    return _compiled(sample_type).fields


def maker_of(sample_type: type[T]) -> Callable[[dict[str, Any]], T]:
    """The function that makes a sample of the values of all its fields."""
    return _compiled(sample_type).make


def is_plain(sample_type: type) -> bool:
    """True if samples of a type are their values, so that columns can be made without making samples."""
    return _compiled(sample_type).plain


def _make_dataclass(cls: type) -> None:
    """A class that declares fields without @dataclass becomes one, at the latest on first use."""
    if cls is not PackableSample and _FIELDS not in cls.__dict__:
        dataclasses.dataclass(eq=False, repr=False)(cls)


def _remember_names(cls: type, frame: types.FrameType) -> None:
    """Keep what text annotations name where a class is declared: they may name locals of a function."""
    if _NAMES in cls.__dict__:  # @dataclass(slots=True) declares it again, from elsewhere
        return
    texts = [text for text in inspect.get_annotations(cls).values() if isinstance(text, str)]
    words = {word for text in texts for word in re.findall(r"[^\W\d]\w*", text)}
    scope = {**frame.f_globals, **frame.f_locals} if words else {}
    setattr(cls, _NAMES, {word: scope[word] for word in words if word in scope})


def _compiled(cls: type) -> _Compiled:
    compiled: _Compiled | None = getattr(cls, "__dict__", {}).get(_COMPILED)
    if compiled is None:
        compiled = _compile(cls)
        setattr(cls, _COMPILED, compiled)
    return compiled


def _compile(cls: Any) -> _Compiled:
    if not isinstance(cls, type) or not issubclass(cls, PackableSample) or cls is PackableSample:
        name = getattr(cls, "__name__", str(cls))
        raise FieldTypeError(
            f"{name} is not a sample type", hint=f"Decorate the class: @atdata.packable class {name}: ..."
        )
    _make_dataclass(cls)
    fields = []
    for declared in dataclasses.fields(typing.cast(Any, cls)):
        path = f"{cls.__name__}.{declared.name}"
        if declared.name in _RESERVED or not declared.init:
            raise FieldTypeError(
                "a field's name is reserved, or the field is not set by __init__",
                path=path,
                hint=f"Rename it if it is one of {_RESERVED}, or leave out init=False.",
            )
        try:
            annotation = annotation_of(cls, declared.name, path)
            fields.append(parse_field(declared.name, annotation, path, _default(declared)))
        except RecursionError:
            raise FieldTypeError("a field type is recursive", path=path, hint="Use dict or list.") from None
    return _Compiled(
        fields=tuple(fields),
        encoders=tuple((field.name, field.type.encoder) for field in fields),
        decoders=tuple((field, field.type.decoder) for field in fields),
        make=_assembler(cls) if _is_plain(cls) else lambda values: cls(**values),
        plain=_is_plain(cls),
    )


def _is_plain(cls: type) -> bool:
    """True if making a sample and setting its fields does just that, and runs nothing that its author wrote."""
    sample_type: Any = cls
    return (
        _is_generated(sample_type.__init__)
        and (sample_type.__setattr__ is object.__setattr__ or _is_generated(sample_type.__setattr__))  # frozen
        and not hasattr(cls, "__post_init__")
        and sample_type.__new__ is PackableSample.__new__
        and sample_type.from_bytes.__func__ is PackableSample.from_bytes.__func__  # type: ignore[attr-defined]
        and not any(hasattr(inspect.getattr_static(cls, name, None), "__set__") for name in vars(cls)[_FIELDS])
    )


def _is_generated(method: Any) -> bool:
    """True if @dataclass made it, or what stands for that in types that were built from a schema."""
    return getattr(getattr(method, "__code__", None), "co_filename", None) == "<string>" or hasattr(method, SETS_FIELDS)


def _assembler(cls: type) -> Callable[[dict[str, Any]], Any]:
    """Does what the generated `__init__` does, in a time that grows with the number of fields and not with its square."""
    new = object.__new__

    def make(values: dict[str, Any]) -> Any:
        sample: Any = new(cls)
        sample.__dict__.update(values)
        return sample

    return make


def _default(declared: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if declared.default_factory is not dataclasses.MISSING:
        return declared.default_factory
    return None if declared.default is dataclasses.MISSING else lambda: declared.default


def annotation_of(cls: type, name: str, path: str) -> Any:
    """The type in a field's annotation, read where it was declared: in the class itself, or in a base elsewhere."""
    base = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    declared = types.SimpleNamespace(__annotations__={name: inspect.get_annotations(base)[name]})
    module = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
    try:
        return typing.get_type_hints(declared, module, base.__dict__.get(_NAMES, {}), include_extras=True)[name]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise FieldTypeError(
            "an annotation cannot be evaluated",
            path=path,
            actual=error,
            hint="Import what it names, or define it above the class.",
        ) from error


def brief(value: Any) -> str:
    """A value as it stands in the `repr` of a sample."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {list(value.shape)}>"
    text = plain(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."
