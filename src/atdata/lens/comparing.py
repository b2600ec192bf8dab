"""Two lenses between the same types, compared by what they show."""

from __future__ import annotations

from typing import Any

from atdata.errors import NoHomeError
from atdata.lens.functions import Lens
from atdata.lens.laws import canonical
from atdata.samples import PackableSample, fields_of
from atdata.samples.kinds.costly import remembering
from atdata.samples.space import SampleSpace

SAMPLES = 100
"""Generated samples that are compared."""


def difference(one: Lens[Any, Any], other: Lens[Any, Any]) -> str | None:
    """The first difference between what two lenses show of generated samples, for people; `None` where they show the same.

    Args:
        one, other: from one sample type to another.
    """
    kind: Any = one.source_type
    space = SampleSpace(kind)
    with remembering():
        for number in range(SAMPLES):
            data = canonical(kind, space.sample(number, "difference"))
            if data is None:
                continue
            views = [_view(lens, kind.from_bytes(data)) for lens in (one, other)]
            if None in views and views != [None, None]:
                return f"{(one, other)[views.index(None)].name} has no view of {kind.from_bytes(data)!r}"[:300]
            if None not in views and views[0].packed != views[1].packed:
                return _said(*views)
    return None


def _view(lens: Lens[Any, Any], sample: PackableSample) -> Any:
    try:
        return lens.get(sample)
    except NoHomeError:
        return None


def _said(one: Any, other: Any) -> str:
    for field in fields_of(type(one)):
        values = [getattr(view, field.name) for view in (one, other)]
        if not field.type.same(*values):
            return f"{field.name} is {values[0]!r:.80} or {values[1]!r:.80}"
    return "they differ in bits"
