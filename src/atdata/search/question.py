"""Questions: words, and conditions that what is found must meet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from atdata.atproto.syntax import AtUri, Did
from atdata.errors import IdentifierError, UsageError
from atdata.search.facets import KEYS, SIZES, UNKNOWN, Facet, FacetKind, size_classes, with_open_end
from atdata.search.words import MAX_WORD, folded, pairs_of, words_of

MAX_TEXT, MAX_TERMS, MAX_CONDITIONS, MAX_VALUES = 1000, 16, 16, 16

_PIECE = re.compile(r'(-?)(?:([A-Za-z]+):)?(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(\*?)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')  # another backslash stands for itself
_KEYS = {key: kind for kind, key in KEYS.items()}
_CHOICES = {
    FacetKind.kind: ("dataset", "schema", "lens"),
    FacetKind.digests: ("all", "some", "none", UNKNOWN),
}
_COMPATIBLE, _REACHES = "compatible", "reaches"
_SIZE = re.compile(r"(>=|<)?(\d+)([kKMGTPE]?)B?(?:\.\.(\d+)([kKMGTPE]?)B?)?")
_POWERS = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


class Piece(Struct, frozen=True):
    """A part of a question as it is written.

    Attributes:
        text: the whole of it.
        key: before the colon; empty where there is none, or where it is no key.
        values: of the key.
        present: whether it must hold; else it must not.
    """

    text: str
    key: str = ""
    values: tuple[str, ...] = ()
    present: bool = True


def pieces_of(text: str) -> list[Piece]:
    """The parts of a question, in order; written one behind the other, with spaces, they are the question."""
    found = []
    for match in _PIECE.finditer(text):
        minus, key, quoted, bare, _ = match.groups()
        if key in _KEYS or (key == _COMPATIBLE and not minus):
            found.append(Piece(match[0], key, _values(_unquoted(quoted) or bare, not bare), not minus))
        else:
            found.append(Piece(match[0]))
    return found


def written(key: str, value: str) -> str | None:
    """A condition as part of a question; `None` where no text says it."""
    if "\0" in value or not value.strip():
        return None
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}:"{escaped}"'


class Term(Struct, frozen=True):
    """Words that must stand beside each other in one field; of the last one, only its beginning where `prefix` is set."""

    words: tuple[str, ...]
    prefix: bool = False

    @property
    def tokens(self) -> list[str]:
        """The tokens that must stand beside each other: a word, or the pairs of a phrase."""
        return pairs_of(self.words) or [*self.words]


class Condition(Struct, frozen=True):
    """A facet that must be there, with one of some values, or must not be there with any of them."""

    kind: FacetKind
    values: tuple[str, ...]
    present: bool = True

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of which one must be there, or none."""
        values = with_open_end(self.values) if self.kind in SIZES else self.values
        return tuple(dict.fromkeys(Facet.of(self._kind_of(value), value).token for value in values))

    def _kind_of(self, value: str) -> FacetKind:
        """The kind of a value: a label with its labeler is of another than the label."""
        of_labeler = self.kind is FacetKind.labelled and "@did:" in value
        return FacetKind.labelled_by if of_labeler else self.kind


class Question(Struct, frozen=True):
    """A question: every term and every condition must hold.

    Attributes:
        terms: words, beginnings of words, and phrases.
        conditions: on facets.
        compatible: a schema; datasets that its type reads are asked for.
        reaches: a schema; datasets that can be seen as it, also through verified lenses, are asked for.
        void: whether something was said that holds no word, and nothing else: then nothing is found.
    """

    terms: tuple[Term, ...] = ()
    conditions: tuple[Condition, ...] = ()
    compatible: AtUri | None = None
    reaches: AtUri | None = None
    void: bool = False

    @classmethod
    def parse(cls, text: str) -> Question:
        """The question that a text asks; nothing in it is an error but what names a known key and cannot be meant.

        Raises:
            UsageError: it is too long, holds a NUL, or a value is none of its key's.
        """
        if "\0" in text:
            raise UsageError("a question holds a NUL character", expected="text", hint="Leave it out.")
        if len(text) > MAX_TEXT:
            raise UsageError("a question is too long", expected=f"at most {MAX_TEXT} characters", actual=len(text))
        found = cls()
        for minus, key, quoted, bare, star in _PIECE.findall(text):
            found = found._with_piece(
                minus == "-", key, _unquoted(quoted) or bare, not bare, star == "*" or bare.endswith("*")
            )
        if len(found.terms) > MAX_TERMS or len(found.conditions) > MAX_CONDITIONS:
            raise UsageError(
                "a question has too many parts", expected=f"at most {MAX_TERMS} words and {MAX_CONDITIONS} conditions"
            )
        said_nothing = not (found.terms or found.conditions or found.compatible or found.reaches)
        return replace(found, void=bool(text.strip()) and said_nothing)

    def having(self, kind: FacetKind, *values: str, present: bool = True) -> Question:
        """The same question with a condition more."""
        return replace(self, conditions=(*self.conditions, Condition(kind, values, present)))

    def _with_piece(self, minus: bool, key: str, value: str, quoted: bool, prefix: bool) -> Question:
        if key == _COMPATIBLE and not minus:
            return replace(self, compatible=_address(value))
        if key == _REACHES and not minus:
            return replace(self, reaches=_address(value))
        if key in _KEYS:
            kind = _KEYS[key]
            values = [*_values(value, quoted)]
            if kind in SIZES:
                values = [size for part in values for size in _sizes(part)]
            else:
                _check_values(kind, values)
            return self.having(kind, *values, present=not minus) if values else self
        words = tuple(words_of(f"{key} {value}" if key else value, MAX_TERMS))
        if not words:
            return self
        return replace(self, terms=(*self.terms, Term(words, prefix and 1 < len(words[-1]) < MAX_WORD)))


def _unquoted(text: str | None) -> str:
    """The text that stands between quotation marks, where one that is meant has a backslash before it, as has a backslash."""
    return _ESCAPED.sub(r"\1", text or "")


def _values(value: str, quoted: bool) -> tuple[str, ...]:
    return (value,) if quoted else tuple(part for part in value.split(",") if part)[:MAX_VALUES]


def _check_values(kind: FacetKind, values: Iterable[str]) -> None:
    """Refuse what can be no value of a kind: it would find nothing, and nobody would know why."""
    for value in values:
        if kind in _CHOICES and folded(value) not in _CHOICES[kind]:
            said = f"{kind.name}: in a question has another value"
            raise UsageError(said, expected=", ".join(_CHOICES[kind]), actual=value[:100])
        if kind is FacetKind.publisher:
            _check_did(value)


def _check_did(value: str) -> None:
    try:
        Did(value)
    except IdentifierError as error:
        said = "publisher: in a question names no account"
        raise UsageError(said, expected="a DID", actual=value[:100]) from error


def _sizes(text: str) -> Iterator[str]:
    """Yields the classes of sizes that a condition names: a class, `>=1M`, `<1k` or `1M..1G`; of powers of ten."""
    if folded(text) in ("unknown", "0") or re.fullmatch(r"10\^\d{1,2}", text):
        yield folded(text)
        return
    found = _SIZE.fullmatch(text)
    numbers = [] if found is None else [n for n in (_number(found[2], found[3]), _number(found[4], found[5])) if n]
    if found is None or not numbers or any(str(n).strip("0") != "1" for n in numbers) or (found[1] and found[4]):
        raise UsageError(
            "a size in a question cannot be read",
            expected="a power of ten and what is beside it: >=1M, <1k, 1M..1G",
            actual=text[:100],
        )
    if found[1] == "<":
        yield from size_classes(0, numbers[0])
    elif found[1] == ">=":
        yield from size_classes(numbers[0], None)
    else:
        yield from size_classes(numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] * 10)


def _number(digits: str | None, unit: str | None) -> int | None:
    return None if not digits or len(digits) > 20 else int(digits) * 10 ** _POWERS[unit or ""]


def _address(text: str) -> AtUri:
    try:
        return AtUri(text)
    except IdentifierError as error:
        raise UsageError(
            "a schema in a question has no address", expected="at://did/collection/key", actual=text[:200]
        ) from error
