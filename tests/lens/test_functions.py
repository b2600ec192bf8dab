"""Lenses: a view, the way back, the laws, and how lenses are found and put together."""

from __future__ import annotations

import enum
import pickle
from typing import Annotated, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atdata.errors import LensError, LensNotFoundError, NoHomeError
from atdata.lens import DataLens, Lens, Program, Projection, find_lens, lens, register, registered_lens
from atdata.lens.registry import fitted
from atdata.samples import DictSample, Shape, Unit, packable
from atdata.schema import schema_of, type_of


@packable
class Photo:
    image: NDArray[np.uint8]
    label: int
    author: str
    edits: int = 0


@packable
class Named:
    label: int
    author: str


@packable
class Title:
    text: str


@packable
class Odd:
    text: str


@lens
def named(photo: Photo) -> Named:
    return Named(photo.label, photo.author)


@named.putter
def _put_named(view: Named, photo: Photo) -> Photo:
    return Photo(photo.image, view.label, view.author, photo.edits)


@lens
def title(view: Named) -> Title:
    return Title(f"{view.label}: {view.author}")


@title.putter
def _put_title(view: Title, source: Named) -> Named:
    label, _, author = view.text.partition(": ")
    return Named(int(label), author)


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


@packable
class Spot:
    x: int
    y: int


@packable
class Sighting:
    at: Spot
    others: list[Spot] | None
    color: Color
    pair: tuple[Spot, int]
    by: dict[str, Spot]


SIGHTING = Sighting(Spot(1, 2), [Spot(3, 4)], Color.BLUE, (Spot(5, 6), 7), {"a": Spot(8, 9)})


def photo(label: int = 1, author: str = "ada") -> Photo:
    return Photo(np.full((2, 2), label, "u1"), label, author)


PHOTOS = [photo(1, "ada"), photo(2, "bob"), photo(2, "ada")]


# --- get and put -----------------------------------------------------------------------------------------------------


def test_a_lens_shows_a_view_and_puts_a_changed_one_back():
    assert named(photo()) == named.get(photo()) == Named(1, "ada")
    changed = named.put(Named(7, "eve"), photo())
    assert changed == Photo(photo().image, 7, "eve")
    assert (named.source_type, named.view_type, named.name) == (Photo, Named, "named")
    assert repr(named) == "Lens(named: Photo -> Named)"
    assert named.putter_function is _put_named


def test_a_lens_without_a_putter_says_so():
    one_way = Lens(lambda s: Title(s.author), source_type=Photo, view_type=Title, name="one_way")
    assert one_way.get(photo()) == Title("ada")
    assert one_way.putter_function is None
    with pytest.raises(LensError, match="one_way") as caught:
        one_way.put(Title("a"), photo())
    assert "@one_way.putter" in (caught.value.hint or "")


def test_a_lens_may_be_declared_inside_a_function():
    @packable
    class Local:
        n: int

    @lens
    def halved(source: Local) -> Title:
        return Title(str(source.n // 2))

    @halved.putter
    def put_back(view: Title, source: Local) -> Local:
        return Local(int(view.text) * 2 + source.n % 2)

    assert find_lens(Local, Title) is halved
    halved.check_laws([Local(n) for n in range(5)])


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"source": Photo},
        {"source": Photo, "return": int},
        {"source": int, "return": Title},
        {"source": "Photo | None", "return": Title},
        {"source": "Undefined", "return": Title},
        {"source": "np.nothing", "return": Title},
        {"source": "list[", "return": Title},
    ],
)
def test_a_function_that_names_no_two_sample_types_makes_no_lens(annotations):
    def get(source: Any) -> Any: ...

    get.__annotations__ = annotations
    with pytest.raises(LensError):
        lens(get)


def test_a_function_of_two_arguments_makes_no_lens():
    with pytest.raises(LensError):

        @lens
        def get(source: Photo, other: Photo) -> Title: ...


def test_a_putter_must_be_the_way_back():
    made = Lens(lambda s: Title(s.author), source_type=Photo, view_type=Title, name="made")

    def reversed_arguments(source: Photo, view: Title) -> Photo: ...
    def another_result(view: Title, source: Photo) -> Title: ...
    def one_argument(view: Title) -> Photo: ...
    def unknown(view: Undefined, source: Photo) -> Photo: ...  # noqa: F821
    def without_annotations(view, source): ...

    for wrong in (reversed_arguments, another_result, one_argument, unknown):
        with pytest.raises(LensError):
            made.putter(wrong)
    assert made.putter_function is None
    made.putter(without_annotations)
    assert made.putter_function is without_annotations


# --- laws ------------------------------------------------------------------------------------------------------------


def test_lawful_lenses_pass():
    named.check_laws(PHOTOS, [Named(9, "eve")])
    title.check_laws(map(named.get, PHOTOS))
    named.then(title).check_laws(PHOTOS)
    find_lens(Photo, Narrow).check_laws(PHOTOS)


def loose(put: Any) -> Lens[Photo, Named]:
    return Lens(lambda s: Named(s.label, s.author), put, source_type=Photo, view_type=Named, name="loose")


LAWLESS = {
    "GetPut": lambda v, s: Photo(s.image + 1, v.label, v.author, s.edits),
    "PutGet": lambda v, s: Photo(s.image, s.label, v.author, s.edits),
    # Counts changes: what is put twice shows in the second result, though each put alone behaves.
    "PutPut": lambda v, s: Photo(s.image, v.label, v.author, s.edits + (Named(s.label, s.author) != v)),
}


@pytest.mark.parametrize("law", LAWLESS)
def test_each_law_is_tried_and_a_breach_names_it(law):
    with pytest.raises(LensError) as caught:
        loose(LAWLESS[law]).check_laws(PHOTOS)
    assert caught.value.path == law
    assert caught.value.expected != caught.value.actual
    with pytest.raises(LensError) as caught:
        loose(LAWLESS[law]).check_laws(PHOTOS[:1], [Named(5, "eve")])
    assert caught.value.path == law


# --- composition, projection -----------------------------------------------------------------------------------------


def test_lenses_compose_where_they_meet():
    both = named.then(title)
    assert both(photo()) == Title("1: ada")
    assert both.put(Title("3: eve"), photo()) == Photo(photo().image, 3, "eve")
    assert (both.source_type, both.view_type, both.name) == (Photo, Title, "named.title")
    with pytest.raises(LensError):
        title.then(named)


def test_a_composed_lens_has_a_way_back_only_if_both_have():
    one_way = Lens(lambda v: Title(v.author), source_type=Named, view_type=Title, name="one_way")
    assert named.then(title).putter_function is not None
    assert named.then(one_way).putter_function is None
    with pytest.raises(LensError, match="one_way"):
        named.then(one_way).put(Title("a"), photo())


@packable
class Narrow:
    author: str
    label: int


@packable
class Wider:
    author: str
    label: int | None
    note: str = "none"


def test_every_type_can_be_seen_with_fewer_fields_and_wider_ones():
    narrow = find_lens(Photo, Narrow)
    assert isinstance(narrow, Projection)
    assert narrow(photo()) == Narrow("ada", 1)
    assert narrow.put(Narrow("eve", 3), photo()) == Photo(photo().image, 3, "eve")
    assert find_lens(Photo, Wider)(photo()) == Wider("ada", 1, "none")
    assert find_lens(Photo, Photo)(photo()) == photo()


@packable
class Point:
    x: int


@packable
class Less:
    at: Point
    color: Color


def test_a_projection_goes_into_samples_in_fields():
    """Which are then of the class that the view says, and keep what it leaves out."""
    less = find_lens(Sighting, Less)
    assert less(SIGHTING) == Less(Point(1), Color.BLUE)
    changed = less.put(Less(Point(5), Color.RED), SIGHTING)
    assert (changed.at, changed.color, changed.others) == (Spot(5, 2), Color.RED, SIGHTING.others)
    less.check_laws([SIGHTING], [Less(Point(7), Color.RED)])

    @packable
    class Many:
        others: list[Point] | None

    many = find_lens(Sighting, Many)
    assert many.put(many(SIGHTING), SIGHTING) == SIGHTING
    with pytest.raises(NoHomeError, match="lacks fields"):
        many.put(Many([Point(1), Point(2)]), SIGHTING)


def test_a_projection_needs_every_field_in_a_type_that_fits():
    @packable
    class Missing:
        author: str
        place: str

    @packable
    class Another:
        author: int

    @packable
    class Shaped:
        image: np.ndarray[tuple[int, int], np.dtype[np.uint8]]

    @packable
    class Fixed:
        image: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
        label: int

    for view in (Missing, Another, Shaped):
        with pytest.raises(LensNotFoundError):
            find_lens(Photo, view)
    assert find_lens(Fixed, Shaped)(Fixed(np.ones((2, 2), "u1"), 1)).image.shape == (2, 2)
    assert Shape(None, None).fits((2, 2))


# --- finding ---------------------------------------------------------------------------------------------------------


def test_a_registered_lens_is_found_and_a_later_one_replaces_it():
    assert find_lens(Photo, Named) is named
    assert registered_lens(Named, Title) is title
    other = Lens(lambda v: Title("other"), source_type=Named, view_type=Title, name="other")
    register(other)
    try:
        assert find_lens(Named, Title) is other
    finally:
        register(title)


def test_a_lens_wins_over_a_projection():
    assert find_lens(Photo, Named) is named  # Named has only fields that Photo has


def test_no_lens_is_told_with_those_that_there_are():
    with pytest.raises(LensNotFoundError) as caught:
        find_lens(Named, Photo)
    assert caught.value.actual == "lenses to Title"
    assert "def f(source: Named) -> Photo" in (caught.value.expected or "")
    assert isinstance(caught.value, LookupError)
    with pytest.raises(LensNotFoundError, match="from Odd to Photo"):
        find_lens(Odd, Photo)


def test_a_lens_may_begin_at_data_without_a_type():
    @lens
    def typed(source: DictSample) -> Title:
        return Title(source["name"])

    assert find_lens(DictSample, Title)(DictSample({"name": "a"})) == Title("a")


# --- travelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [named, named.then(title), Projection(Photo, Narrow)])
def test_a_lens_pickles(made):
    back = pickle.loads(pickle.dumps(made))
    assert back(photo()) == made(photo())
    assert back.put(back(photo()), photo()) == photo()
    assert (back.name, back.source_type, back.view_type) == (made.name, made.source_type, made.view_type)
    assert (back is made) == (made is named)  # one that stands in a module is found there, like a function


# --- types -----------------------------------------------------------------------------------------------------------


def test_a_lens_takes_its_types_from_annotations():
    def get(source: Photo) -> Title:
        return Title(source.author)

    def put(view: Title, source: Photo) -> Photo:
        return Photo(source.image, source.label, view.text, source.edits)

    made = Lens(get, put=put)
    assert (made.source_type, made.view_type, made.name) == (Photo, Title, "get")
    assert made.put(Title("eve"), photo()) == photo(author="eve")
    with pytest.raises(LensError, match="annotations"):
        Lens(lambda source: source)


def test_lenses_are_joined_by_operators():
    for both in (named | title, title @ named):
        assert both(photo()) == named.then(title)(photo())
        assert both.put(Title("3: eve"), photo()) == photo(author="eve").__class__(photo().image, 3, "eve")
    same = Lens.identity(Photo)
    assert (same | named)(photo()) == named(photo()) == (named | Lens.identity(Named))(photo())
    assert same.put(photo(2), photo()) == photo(2)
    same.check_laws(PHOTOS)
    assert pickle.loads(pickle.dumps(same)).view_type is Photo


def test_two_classes_of_one_schema_are_one_type():
    """Whatever in them is bound to a class."""
    built: Any = type_of(schema_of(Sighting))
    assert built is not Sighting
    there, back = find_lens(Sighting, built), find_lens(built, Sighting)
    seen = there(SIGHTING)
    assert type(seen) is built
    assert seen.packed == SIGHTING.packed
    assert back(seen) == SIGHTING
    assert there.put(seen, SIGHTING) == SIGHTING

    @lens
    def where(source: Sighting) -> Spot:
        return source.at

    assert find_lens(built, Spot)(seen) == Spot(1, 2)
    assert where(SIGHTING) == Spot(1, 2)
    other: Any = type_of(schema_of(Spot))
    assert type(find_lens(built, other)(seen)) is other
    assert (there | where)(SIGHTING) == Spot(1, 2)


def test_the_same_fields_under_another_name_are_another_type():
    @packable
    class Place:
        x: int
        y: int

    @lens
    def moved(source: Spot) -> Title:
        return Title(str(source.x))

    assert find_lens(Spot, Title) is moved
    with pytest.raises(LensNotFoundError, match="from Place to Title"):
        find_lens(Place, Title)


def test_another_unit_is_no_projection():
    """Numbers would be read as what they are not."""

    @packable
    class Nano:
        length: Annotated[float, Unit("nm")]

    @packable
    class Micro:
        length: Annotated[float, Unit("um")]

    @packable
    class Bare:
        length: float

    with pytest.raises(LensNotFoundError):
        find_lens(Nano, Micro)
    with pytest.raises(LensNotFoundError):
        find_lens(Bare, Nano)
    assert find_lens(Nano, Bare)(Nano(1.0)) == Bare(1.0)


def test_types_of_one_name_are_told_apart_by_a_field():
    """In what is said of a lens that is not there, of one between others, and of a sample of another class."""

    def version(**fields: Any) -> Any:
        return packable(type("Dst", (), {"__annotations__": fields, "__module__": __name__}))

    known, other, more = version(b=int), version(b=float), version(b=int, c=str)

    @packable
    class Src:
        a: int

    made = Lens(lambda source: known(source.a), source_type=Src, view_type=known)
    register(made)
    with pytest.raises(LensNotFoundError) as missing:
        find_lens(Src, other)
    assert missing.value.actual == "lenses to Dst with b: int"
    with pytest.raises(LensError) as joined:
        fitted(made, Src, more)
    assert (joined.value.expected, joined.value.actual) == ("Src -> Dst with c: str", "Src -> Dst without c")
    with pytest.raises(LensError) as sample:
        DataLens(Program.of({"op": "drop", "field": "b"}), more, version(c=str)).get(known(1))
    assert (sample.value.expected, sample.value.actual) == ("Dst with c: str", "Dst without c")
