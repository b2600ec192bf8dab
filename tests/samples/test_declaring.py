"""How people declare sample types: every spelling of every field type means the same, wherever it stands."""

from __future__ import annotations

import dataclasses
import enum
import gc
import itertools
import sys
import textwrap
import types
import weakref
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.errors import FieldTypeError, SampleError
from atdata.samples import (
    Array,
    ClassLabel,
    DictOf,
    Doc,
    Dtype,
    Field,
    ListOf,
    Maybe,
    PackableSample,
    Plain,
    Scalar,
    Shape,
    fields_of,
    packable,
)
from atdata.samples.fields import accepts

T = TypeVar("T")
F32, U8 = Array(np.float32), Array(np.uint8)

# annotation, what it means, a value
SPELLINGS: list[tuple[str, Any, Any]] = [
    ("str", Scalar("str"), "é"),
    ("int", Scalar("int"), -(2**63)),
    ("float", Scalar("float"), 0.1),
    ("bool", Scalar("bool"), True),
    ("bytes", Scalar("bytes"), b"\0\xff"),
    ("Any", Plain(), [1, {"a": None}]),
    ("list", ListOf(Plain()), [1, "a"]),
    ("List", ListOf(Plain()), []),
    ("list[int]", ListOf(Scalar("int")), [1, 2]),
    ("List[list[str]]", ListOf(ListOf(Scalar("str"))), [["a"], []]),
    ("list[int | None]", ListOf(Maybe(Scalar("int"))), [1, None]),
    ("dict", DictOf(Plain()), {"a": 1.5}),
    ("Dict", DictOf(Plain()), {}),
    ("dict[str, Any]", DictOf(Plain()), {"a": b"b"}),
    ("Dict[str, list[float]]", DictOf(ListOf(Scalar("float"))), {"a": [1.0]}),
    ("int | None", Maybe(Scalar("int")), None),
    ("Optional[str]", Maybe(Scalar("str")), "a"),
    ("Union[None, str]", Maybe(Scalar("str")), "a"),
    ("Annotated[int, 'count']", Scalar("int"), 3),
    ("np.ndarray", Array(), np.arange(3)),
    ("NDArray", Array(), np.zeros((2, 0))),
    ("npt.NDArray", Array(), np.array(1)),
    ("NDArray[np.float32]", F32, np.ones(3, "f4")),
    ("npt.NDArray[np.float32]", F32, np.ones(3, ">f4")),
    ("NDArray[Any]", Array(), np.array(["a"])),
    ("NDArray[np.floating]", Array(np.floating), np.ones(3, "f2")),
    ("NDArray[np.longlong]", Array(np.int64), np.ones(3, np.longlong)),
    ("NDArray[np.str_]", Array(np.str_), np.array(["é"])),
    ("NDArray[np.float32 | np.float64]", Array(), np.ones(3)),
    ("np.ndarray[Any, np.dtype[np.uint8]]", U8, np.ones(3, "u1")),
    ("np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", U8, np.ones((1, 1), "u1")),
    ("np.ndarray[tuple[int, Literal[3]], np.dtype[np.uint8]]", Array(np.uint8, Shape(None, 3)), np.ones((2, 3), "u1")),
    ("np.ndarray[tuple[()], np.dtype[np.uint8]]", Array(np.uint8, Shape()), np.array(1, "u1")),
    ("np.ndarray[Any, np.uint8]", U8, np.ones(3, "u1")),
    ("NDArray | None", Maybe(Array()), None),
    ("None | NDArray[np.float32]", Maybe(F32), np.ones(3, "f4")),
    ("Optional[NDArray]", Maybe(Array()), np.ones(3)),
    ("Annotated[NDArray[np.float32], Shape(None, 3)]", Array(np.float32, Shape(None, 3)), np.ones((0, 3), "f4")),
    ("Annotated[NDArray | None, Shape(2)]", Maybe(Array(None, Shape(2))), np.ones(2)),
    ("Optional[Annotated[NDArray, Shape(2), 'pair']]", Maybe(Array(None, Shape(2))), None),
    ("list[NDArray[np.float32]]", ListOf(F32), [np.ones(1, "f4"), np.ones(2, "f4")]),
    ("dict[str, NDArray]", DictOf(Array()), {"a": np.ones(1)}),
]

# What stands before a class body with the fields, and what stands after it.
STYLES = {
    "decorated": ("@packable\nclass S:", ""),
    "subclass": ("class S(PackableSample):", ""),
    "decorated subclass": ("@packable\nclass S(PackableSample):", ""),
    "dataclass subclass": ("@dataclass\nclass S(PackableSample):", ""),
    "dataclass with slots": ("@dataclass(slots=True)\nclass S(PackableSample):", ""),
    "decorated dataclass": ("@packable\n@dataclass\nclass S:", ""),
    "decorated frozen dataclass": ("@packable\n@dataclass(frozen=True)\nclass S:", ""),
    "inherited, undecorated": ("class Base(PackableSample):", "\nclass S(Base):\n    more: int = 0\n"),
    "inherited, dataclass": ("class Base(PackableSample):", "\n@dataclass\nclass S(Base):\n    more: int = 0\n"),
    "inherited, decorated": ("@packable\nclass Base:", "\n@packable\nclass S(Base):\n    more: int = 0\n"),
    "a base that is inherited": ("class S(PackableSample):", "\nclass Other(S):\n    more: int = 0\n"),
}

IMPORTS = """
import numpy as np
import numpy.typing as npt
from dataclasses import dataclass, field, KW_ONLY
from numpy.typing import NDArray
from typing import Annotated, Any, Dict, List, Literal, Optional, Union
from atdata.samples import PackableSample, Shape, packable
"""


@pytest.fixture(autouse=True)
def _module(monkeypatch):
    monkeypatch.setitem(sys.modules, "declared_in_a_test", types.ModuleType("declared_in_a_test"))


def declare(source: str, *, future: bool, inside: bool) -> Any:
    """The class `S` of some source text, as a module or inside a function, with or without the future import."""
    source = IMPORTS + source
    if inside:
        source = f"def make():\n{textwrap.indent(source, '    ')}\n    return S\nS = make()\n"
    if future:
        source = f"from __future__ import annotations\n{source}"
    module = sys.modules["declared_in_a_test"]
    exec(compile(source, "declared_in_a_test", "exec", dont_inherit=True), vars(module))
    return module.S


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_every_spelling_in_every_style_declares_the_same_fields(style, future, inside):
    head, tail = STYLES[style]
    body = "".join(f"\n    f{index}: {text}" for index, (text, *_) in enumerate(SPELLINGS))
    sample_type = declare(head + body + "\n" + tail, future=future, inside=inside)
    declared = {field.name: field.type for field in fields_of(sample_type)}
    for index, (text, expected, _) in enumerate(SPELLINGS):
        assert declared[f"f{index}"] == expected, text

    sample = sample_type(*(value for *_, value in SPELLINGS))
    assert isinstance(sample, PackableSample)
    assert sample_type.from_bytes(sample.packed) == sample
    assert sample_type.__name__ in repr(sample)
    assert len(repr(sample)) < 4000  # arrays are shown by dtype and shape, not by their items


@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_defaults_stand_in_for_fields_that_a_stored_sample_lacks(style, future):
    head, tail = STYLES[style]
    body = """
    x: int
    maybe: NDArray | None
    name: str = "nobody"
    tags: list[str] = field(default_factory=lambda: ["new"])
    _: KW_ONLY
    flag: bool = False
    image: NDArray = field(default_factory=lambda: np.zeros(2))
    """
    # Not inside a function: dataclasses looks up the text "KW_ONLY" in the module only.
    sample_type = declare(head + body + "\n" + tail, future=future, inside=False)
    stored = declare("class S(PackableSample):\n    x: int", future=future, inside=False)(7)
    read = sample_type.from_bytes(stored.packed)
    assert (read.x, read.maybe, read.name, read.tags, read.flag, read.image.tolist()) == (
        *(7, None, "nobody", ["new"]),
        *(False, [0.0, 0.0]),
    )
    read.tags.append("old")
    assert sample_type.from_bytes(stored.packed).tags == ["new"]
    with pytest.raises(SampleError) as caught:
        sample_type.from_bytes(b"\x80")
    assert (caught.value.path, caught.value.actual) == (f"{sample_type.__name__}.x", "no such field")


def test_fields_a_type_does_not_declare_are_passed_over():
    @packable
    class Wide:
        x: int
        y: NDArray

    @packable
    class Narrow:
        x: int

    assert Narrow.from_bytes(Wide(1, np.zeros(3)).packed) == Narrow(1)


@pytest.mark.parametrize("style", [name for name in STYLES if name != "decorated frozen dataclass"])
def test_equality_is_by_type_and_by_every_field_bit_for_bit(style):
    head, tail = STYLES[style]
    body = "\n    x: float\n    y: NDArray | None\n    z: dict\n"
    sample_type = declare(head + body + tail, future=False, inside=True)

    def make(x: float = 1.0, y: Any = None, z: Any = None) -> Any:
        return sample_type(x, np.arange(3.0) if y is None else y, {"a": [1, None]} if z is None else z)

    assert make() == make()
    assert make(x=float("nan")) == make(x=float("nan"))
    assert make(y=np.array([np.nan])) == make(y=np.array([np.nan]))
    assert make(y=np.zeros((2, 3))) == make(y=np.zeros((2, 3), order="F"))
    others = [
        make(x=2.0),
        make(y=np.arange(4.0)),
        make(y=np.arange(3)),
        make(y=np.arange(3, dtype=">f8")),
        make(y=np.array([0.0, -1.0, 2.0])),
        sample_type(1.0, None, {"a": [1, None]}),
        make(z={"a": [1, 0]}),
        make(z={"b": [1, None]}),
        make(z={"a": np.arange(3)}),
    ]
    for one, other in itertools.combinations([make(), *others], 2):
        assert one != other
        assert other != one


def test_a_type_may_compare_and_show_itself_in_its_own_way():
    @packable
    class Close:
        x: float

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Close) and abs(self.x - other.x) < 1

        def __repr__(self) -> str:
            return f"<about {self.x:.0f}>"

    assert Close(1.0) == Close(1.5)
    assert repr(Close(1.2)) == "<about 1>"


def test_one_name_may_mean_two_things_where_a_type_and_its_base_are_declared():
    def make_base() -> Any:
        Kind = int

        class Base(PackableSample):
            kind: Kind

        return Base

    def derive(base: Any) -> Any:
        Kind = str

        class Child(base):
            other: Kind

        return Child

    assert [str(field.type) for field in fields_of(derive(make_base()))] == ["int", "str"]


def test_an_annotation_may_name_what_is_defined_further_down():
    sample_type = declare("@packable\nclass S:\n    x: Later\nLater = int\n", future=True, inside=False)
    assert fields_of(sample_type) == (Field("x", Scalar("int")),)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
@pytest.mark.parametrize("future", [False, True])
def test_a_type_statement_may_name_a_field_type(future):
    aliases = "type Pixels = NDArray[np.uint8]\ntype Of[T: np.generic] = NDArray[T] | None\ntype Rows[T] = list[T]\n"
    fields = "    a: Pixels\n    b: Of[np.float32]\n    c: Rows[Of[np.float32]]\n    d: Of\n"
    sample_type = declare(f"{aliases}@packable\nclass S:\n{fields}", future=future, inside=False)
    assert [field.type for field in fields_of(sample_type)] == [U8, Maybe(F32), ListOf(Maybe(F32)), Maybe(Array())]
    with pytest.raises(FieldTypeError, match="is recursive"):
        declare("type Tree = list[Tree]\n@packable\nclass S:\n    a: Tree\n", future=future, inside=False)


def test_a_base_that_is_no_sample_type_is_left_as_it_is():
    class Mixin:
        scale: int = 2

        def larger(self: Any) -> int:
            return self.n * self.scale

    class Mixed(Mixin, PackableSample, Generic[T]):
        n: int

    assert [field.name for field in fields_of(Mixed)] == ["n"]
    assert Mixed(3).larger() == 6
    assert not dataclasses.is_dataclass(Mixin)


REFUSED = [
    "tuple[int, set]",
    "set[str]",
    "object",
    "complex",
    "int | str",
    "int | str | None",
    "Literal['a', 1]",
    "dict[int, str]",
    "list[frozenset[int]]",
    "dict[str, set]",
    "NDArray[np.object_]",
    "Annotated[list[int], Shape(3)]",
    "np.float32",
    "type(None)",
]


@pytest.mark.parametrize("annotation", REFUSED)
@pytest.mark.parametrize("future", [False, True])
def test_a_field_that_no_sample_can_hold_is_refused_where_it_is_declared(annotation, future):
    with pytest.raises(FieldTypeError) as caught:
        declare(f"@packable\nclass S:\n    ok: int\n    bad: {annotation}\n", future=future, inside=True)
    assert (caught.value.path or "").startswith("S.bad")


@pytest.mark.parametrize("annotation", ["Undefined", "NDArray[np.float31]", "list[", "int[str]"])
def test_an_annotation_that_cannot_be_read_names_its_field(annotation):
    with pytest.raises(FieldTypeError) as caught:
        fields_of(declare(f"@packable\nclass S:\n    bad: '{annotation}'\n", future=False, inside=False))
    assert caught.value.path == "S.bad"


@pytest.mark.parametrize("name", ["packed", "as_wds", "from_bytes"])
def test_a_field_cannot_take_the_name_of_what_every_sample_has(name):
    with pytest.raises(FieldTypeError) as caught:
        declare(f"@packable\nclass S:\n    {name}: int\n", future=False, inside=False)
    assert caught.value.path == f"S.{name}"


def test_what_is_no_sample_type_is_refused():
    for wrong in (int, PackableSample, dataclasses.make_dataclass("D", ["x"])):
        with pytest.raises(FieldTypeError):
            fields_of(wrong)


@pytest.mark.parametrize("dims", [(-1,), ("3",), (1.0,), (True,)])
def test_a_shape_has_sizes_only(dims):
    with pytest.raises(FieldTypeError):
        Shape(*dims)
    with pytest.raises(FieldTypeError):
        Shape(1, 2, names=["only one"])


LONE = "\ud800"  # half of a character: no Unicode, so in no sample, schema or record


@pytest.mark.parametrize(
    "annotation",
    [
        lambda: Annotated[int, ClassLabel(names=[LONE, "b"])],
        lambda: Annotated[int, Doc(LONE)],
        lambda: Annotated[NDArray[np.uint8], Shape(None, names=[LONE])],
        lambda: Annotated[NDArray[np.uint8], Shape(None, names=[1])],
        lambda: Annotated[NDArray[np.void], Dtype([(LONE, "<f4")])],
        lambda: Literal[LONE, "b"],
        lambda: Literal[2**64, 1],
        lambda: enum.Enum("Lone", {"A": LONE, "B": "b"}),
        lambda: enum.Enum("Large", {"A": -(2**63) - 1, "B": 1}),
    ],
)
def test_what_no_sample_or_schema_could_ever_hold_is_refused_where_it_is_declared(annotation):
    with pytest.raises(FieldTypeError):
        fields_of(packable(type("Refused", (), {"__annotations__": {"x": annotation()}, "__module__": __name__})))


def test_a_type_does_not_keep_alive_what_happens_to_stand_beside_it():
    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)

    def make(unrelated: Any) -> type:
        class Local(PackableSample):
            x: NDArray[np.float32]
            y: Optional[int]  # noqa: UP045

        fields_of(Local)
        return Local

    kept = make(big)
    del big
    gc.collect()
    assert gone() is None
    assert len(fields_of(kept)) == 2


ANY_ARRAY, OPEN, CLOSED = Array(), Array(np.float32, Shape(None, 3)), Array(np.float32, Shape(2, 3))


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        (ANY_ARRAY, CLOSED, True),
        (CLOSED, ANY_ARRAY, False),
        (OPEN, CLOSED, True),
        (CLOSED, OPEN, False),
        (Array(np.floating), F32, True),
        (Maybe(OPEN), CLOSED, True),
        (OPEN, Maybe(OPEN), False),
        (ListOf(ANY_ARRAY), ListOf(F32), True),
        (Plain(), ListOf(Maybe(Scalar("int"))), True),
        (Plain(), ListOf(F32), False),
        (Scalar("float"), Scalar("int"), False),
    ],
)
def test_a_field_accepts_what_is_no_wider_than_itself(wide, narrow, expected):
    assert accepts(wide, narrow) is expected
