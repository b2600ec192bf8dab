"""The laws of lenses, tried before use: on real samples, and on generated ones, whose boundary values come first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from atdata.arguments import checked_list, checked_text, checked_type
from atdata.errors import LensError, UsageError
from atdata.lens.counterexamples import Counterexample, Shrinker, differing, joined
from atdata.lens.ulps import Tolerances, Ulps, alike
from atdata.lens.watched import NO_HOME, Breach, LensLike, Watched
from atdata.numbers import checked_int
from atdata.samples import DictSample, PackableSample, fields_of
from atdata.samples.codec import pack, unpack
from atdata.samples.kinds.costly import remembering
from atdata.samples.space import SPACE, Chance, SampleSpace

COUNT = 200
"""Samples that are generated where nobody says how many: about 1,800 comparisons."""

LAWS = {"GetPut": "_get_put", "PutGet": "_put_get", "PutPut": "_put_put", "Columns": "_columns"}
"""The laws, each with the method that tries it."""


@dataclass(frozen=True)
class Tally:
    """The number of times that a law was tried.

    Attributes:
        tested: where the lens is defined.
        undefined: where it is not.
    """

    tested: int = 0
    undefined: int = 0


@dataclass(frozen=True)
class LawReport:
    """The result of a trial of the laws of a lens.

    Attributes:
        lens: its name.
        tallies: of each law, by name.
        counterexample: the smallest that was found; `None` where there is none.
        samples: how many were generated.
        seed: of the generated ones.
        space: the name of the space that they are from.
        given: how many samples were given.
        refused: how many generated ones their type refused.
        seconds: how long it took.
        refusal: what the lens said where it was first not defined; `None` where it always was.
    """

    lens: str
    tallies: Mapping[str, Tally]
    counterexample: Counterexample | None
    samples: int
    seed: str
    space: str = SPACE
    given: int = 0
    refused: int = 0
    seconds: float = field(default=0.0, compare=False)
    refusal: str | None = None

    @property
    def verdict(self) -> Literal["holds", "fails", "unknown"]:
        """`fails` where a counterexample was found; `holds` where GetPut, PutGet and PutPut were each tested; else `unknown`:
        the lens was never defined, which says nothing of it.
        """
        return "fails" if self.counterexample else "unknown" if self.untested else "holds"

    @property
    def untested(self) -> tuple[str, ...]:
        """The laws of which nothing is known, since the lens was never defined."""
        return tuple(law for law in LAWS if law != "Columns" and not self.tallies[law].tested)

    @property
    def trial(self) -> dict[str, Any]:
        """All that one has to know to repeat it, for a record; but for the language of a program."""
        return {"samples": self.samples, "seed": self.seed, "space": self.space}

    def raise_for_failure(self) -> None:
        """Raises `LensError` where the verdict is not `holds`; `path` names the law, `expected` and `actual` its two sides."""
        found = self.counterexample
        if found is not None:
            hint = "Correct its getter or its putter; where it is not defined, raise NoHomeError."
            sides = {"expected": joined(found.expected), "actual": joined(found.actual)}
            given = ", ".join(f"{name} ({joined(values)})" for name, values in found.given)
            what = f"the lens {self.lens} breaks the law {found.law} for {given}"
            raise LensError(what, path=found.law, hint=hint, **sides)
        if self.untested:
            raise LensError(
                f"the lens {self.lens} was never defined: nothing is known of its laws",
                path=self.untested[0],
                actual=self.refusal,
                hint="Give samples that it takes, and a putter.",
            )

    def __str__(self) -> str:
        rows = [("law", "tested", "not defined")]
        rows += [(law, f"{tally.tested:,}", f"{tally.undefined:,}") for law, tally in self.tallies.items()]
        lines = [f"{self.lens}: {self.verdict}", *(f"{a:<8}{b:>8}{c:>13}" for a, b, c in rows)]
        lines.append(
            f"{self.samples:,} samples of {self.space}, seed {self.seed!r}, {self.given:,} given; {self.seconds:.2f} s"
        )
        return "\n".join([*lines, *([str(self.counterexample)] if self.counterexample else [])])


def check_laws(
    lens: LensLike,
    samples: Iterable[Any] = (),
    views: Iterable[Any] = (),
    *,
    count: int | None = None,
    seed: str = "",
    rounding: Mapping[str, Ulps | int] | None = None,
) -> LawReport:
    """Try the laws of a lens, on samples that are given and on generated ones. What a user would get is compared: the bytes
    of `packed`, so that -0.0, the payload of a NaN, the order of bytes in an array and of keys in a dict count.

        GetPut   put(get(s), s) == s, always, and to the bit
        PutGet   get(put(v, s)) == v, where that put is defined
        PutPut   put(v2, put(v1, s)) == put(v2, s), where the puts on its left are defined
        Columns  map_columns gives what get gives, where a lens maps columns

    PutGet and PutPut hold to the bit too, but for the fields of which the lens declares its rounding. A lens says that it is
    not defined by raising `NoHomeError`; any other exception breaks the law `Total`, and the other laws of `Watched` are
    tried at each call. Views that are put are those of other samples, those with a field that has a boundary value of the
    view type, and mixtures; of samples that are given alone (`count=0`), the views of the samples, and `views`.

    Args:
        lens: the lens.
        samples: samples of its source type.
        views: views to put into each sample.
        count: the number of samples to generate; by default `COUNT`, and none where samples are given.
        seed: any text: another seed, other samples.
        rounding: by the name of a field, of the view for PutGet and of the source for PutPut, or by its path (`pose.x`); a
            number is that of ulps. By default what the lens declares: its `tolerances`.

    Raises:
        FieldTypeError, LimitError: no samples of such types can be generated.
        MissingExtraError: the library of a field is not installed.
        SampleError: a sample that is given does not fit its type.
        UsageError: samples of a type without fields are to be generated, or an argument is none of its kind.
    """
    started = perf_counter()
    checked_type(lens, LensLike, "lens", "Give a lens: Lens(get, put=put), or a DataLens.")
    with remembering():
        given, put = _packed(samples, "samples"), _packed(views, "views")
        wanted = (0 if given else COUNT) if count is None else checked_int(count, "count")
        tolerances = lens.tolerances if rounding is None else Tolerances.declared(rounding)
        trial = _Trial(lens, tolerances, checked_text(seed, "seed"), put)
        sources = [*given, *trial.generated(wanted)]
        breach = None if lens.putter_function is None else trial.run(sources, mixed=wanted > 0)
    return LawReport(
        lens=lens.name,
        tallies={law: Tally(*counts) for law, counts in trial.counts.items() if law != "Columns" or any(counts)},
        counterexample=breach,
        samples=wanted,
        seed=seed,
        given=len(given),
        refused=wanted + len(given) - len(sources),
        seconds=perf_counter() - started,
        refusal="it has no putter" if lens.putter_function is None else trial.refusal,
    )


def _packed(given: Iterable[Any], path: str) -> list[bytes]:
    """The bytes of some samples."""
    samples = checked_list(given, object, path, "Give samples, in a list.")
    return [
        checked_type(sample, PackableSample | DictSample, f"{path}[{number}]", "Give a sample.").packed
        for number, sample in enumerate(samples)
    ]


class _Trial:
    """The laws of one lens, and how often each was tried."""

    def __init__(self, lens: LensLike, tolerances: Tolerances, seed: str, views: list[bytes]) -> None:
        self._lens, self._tolerances, self._seed, self._views = lens, tolerances, seed, views
        self.counts = {law: [0, 0] for law in LAWS}
        self.refusal: str | None = None
        self._known: dict[tuple[bytes, ...], bytes | None] = {}
        typed = issubclass(lens.source_type, PackableSample) and issubclass(lens.view_type, PackableSample)
        self._maps_columns = (
            typed and lens.reads() is not None and all(map(fields_of, (lens.source_type, lens.view_type)))
        )

    def generated(self, count: int) -> Iterator[bytes]:
        """Yields generated samples of the source type, as their type packs them; those that it refuses are left out."""
        if not count:
            return
        if not issubclass(self._lens.source_type, PackableSample):
            raise UsageError(
                "samples of a type without fields cannot be generated",
                path="count",
                actual=self._lens.source_type.__name__,
                hint="Give samples of your own.",
            )
        space = SampleSpace(self._lens.source_type)
        for number in range(count):
            if (sample := canonical(self._lens.source_type, space.sample(number, self._seed))) is not None:
                yield sample

    def run(self, sources: Sequence[bytes], *, mixed: bool) -> Counterexample | None:
        """Try all laws on some samples; the smallest counterexample, if one was found."""
        typed = mixed and issubclass(self._lens.view_type, PackableSample)
        space = SampleSpace(self._lens.view_type) if typed else None
        for number, source in enumerate(sources):
            self._known.clear()
            other = sources[(number + 1) % len(sources)]
            views = self._candidates(number, source, other, space)
            tries: list[tuple[str, list[bytes]]] = [("GetPut", [source])]
            tries += [("PutGet", [source, view]) for view in views]
            tries += [("PutPut", [source, *pair]) for pair in zip(views, [*views[1:], *views[:1]], strict=True)]
            tries += [("Columns", [source])] if self._maps_columns else []
            for law, parts in tries:
                if found := self._tried(law, parts, other):
                    return self._smallest(law, parts, found, other)
        return None

    def _tried(self, law: str, parts: Sequence[bytes], other: bytes) -> Breach | None:
        watched = Watched(self._lens, self._tolerances.finite, self._known, other)
        try:
            defined: bool = getattr(self, LAWS[law])(watched, *parts)
            watched.finish()
        except Breach as breach:
            return breach
        self.refusal = self.refusal or watched.refusal
        self.counts[law][not defined] += 1
        return None

    def _candidates(self, number: int, source: bytes, other: bytes, space: SampleSpace | None) -> list[bytes]:
        """Views to put into a sample: its own, another's, its own with one boundary value, a mixture, any."""
        own, another = self._view_of(source), self._view_of(other)
        found = [view for view in (own, another) if view is not None]
        if space is not None:
            maps = [space.sample(number, self._seed)]
            if own is not None:
                stored, chance = unpack(own), Chance(SPACE, self._seed, number, "view")
                others = [stored, unpack(another or own), maps[0]]
                name, value = space.edges[number % len(space.edges)] if space.edges else ("", None)
                maps = [
                    {**stored, name: value} if name else stored,
                    self._mixture(number, others, space, chance),
                    *maps,
                ]
            kind = self._lens.view_type
            found += [view for view in (canonical(kind, stored) for stored in maps) if view is not None]
        return [*dict.fromkeys((*found, *self._views))]

    def _mixture(
        self, number: int, others: Sequence[Mapping[str, Any]], space: SampleSpace, chance: Chance
    ) -> dict[str, Any]:
        """A view with each field of one of some views, mostly the first, or any value."""
        ways = [chance.below(6) for _ in space.spaces]
        return {
            name: space.value(name, number, self._seed) if way == 5 else others[max(0, way - 2)][name]
            for name, way in zip(space.spaces, ways, strict=True)
        }

    def _view_of(self, source: bytes) -> bytes | None:
        try:
            return Watched(self._lens, (), {}, source).get(source)
        except Breach:  # which is found in its turn
            return None

    # The laws: True where the lens is defined

    def _get_put(self, lens: Watched, source: bytes) -> bool:
        view, again = lens.get(source), lens.get(source)  # the second for `Repeatable`
        if view is None or again is None:
            return False
        if (back := lens.put(view, source)) != source:
            raise Breach("GetPut", source, NO_HOME if back is None else back)
        return True

    def _put_get(self, lens: Watched, source: bytes, view: bytes) -> bool:
        if (back := lens.put(view, source)) is None:
            return False
        seen = lens.get(back)
        if seen is None or not alike(self._lens.view_type, self._tolerances.view, view, seen):
            raise Breach("PutGet", view, NO_HOME if seen is None else seen)
        return True

    def _put_put(self, lens: Watched, source: bytes, first: bytes, second: bytes) -> bool:
        once, between = lens.put(second, source), lens.put(first, source)
        twice = None if between is None else lens.put(second, between)
        if twice is None:
            return False
        if once is None or not alike(self._lens.source_type, self._tolerances.source, once, twice):
            raise Breach("PutPut", NO_HOME if once is None else once, twice)
        return True

    def _columns(self, lens: Watched, source: bytes) -> bool:
        one, other = lens.views_of_columns([source, source])
        if one != other:
            raise Breach("Columns", one[0] if one else NO_HOME, other[0] if other else NO_HOME)
        return one is not None

    def _smallest(self, law: str, parts: Sequence[bytes], breach: Breach, other: bytes) -> Counterexample:
        types = [self._lens.source_type, self._lens.view_type, self._lens.view_type][: len(parts)]
        quiet = _Trial(self._lens, self._tolerances, self._seed, [])

        def again(samples: Sequence[dict[str, Any]]) -> tuple[Breach, list[bytes]] | None:
            packed = [canonical(kind, sample) for kind, sample in zip(types, samples, strict=True)]
            quiet._known.clear()
            if None in packed:
                return None
            found = quiet._tried(law, packed, other)  # type: ignore[arg-type]
            return (found, packed) if found and found.law == breach.law else None  # type: ignore[return-value]

        smallest = Shrinker(types, lambda samples: again(samples) is not None).smallest([*map(unpack, parts)])
        breach, parts = again(smallest) or (breach, parts)
        source, *views = (kind.from_bytes(data) for kind, data in zip(types, parts, strict=True))
        expected, actual = _sides(breach)
        return Counterexample(breach.law, source, tuple(views), expected, actual)


def _sides(breach: Breach) -> tuple[dict[str, str], dict[str, str]]:
    if isinstance(breach.expected, bytes) and isinstance(breach.actual, bytes):
        return differing(breach.expected, breach.actual)
    sides = [
        joined(differing(side, b"\x80")[0]) if isinstance(side, bytes) else side
        for side in (breach.expected, breach.actual)
    ]
    return {"": sides[0]}, {"": sides[1]}


def canonical(sample_type: Any, stored: Mapping[str, Any]) -> bytes | None:
    """The bytes of a sample as its type packs it; `None` where it refuses such, or packs another each time."""
    try:
        packed: bytes = sample_type.from_bytes(pack(dict(stored))).packed
        return packed if sample_type.from_bytes(packed).packed == packed else None
    except ImportError:
        raise
    except Exception:  # noqa: BLE001  a type may check its values as it likes
        return None
