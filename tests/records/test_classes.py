"""Names of classes stand in a schema, and a schema in a record: more than it holds are refused with the number that fits."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest

import atdata
from atdata.errors import LimitError
from atdata.records import Schema
from atdata.records.record import MAX_RECORD, check_outgoing, json_size


def labelled(count: int, form: str = "class number {:06}") -> Any:
    label = atdata.ClassLabel(form.format(number) for number in range(count))
    declared = {"__annotations__": {"label": Annotated[int, label] | None, "n": int}, "__module__": __name__}
    return atdata.packable(type("Labelled", (), declared))


@pytest.mark.parametrize("form", ["class number {:06}", "n{}", "Klasse «{}»"])
def test_more_classes_than_a_record_holds(form: str) -> None:
    with pytest.raises(LimitError) as caught:
        Schema.of(labelled(50_000, form), version="1.0.0")
    assert caught.value.path == "Labelled.label"
    fits = int(re.search(r"\d+", str(caught.value.expected))[0])  # type: ignore[index]
    schema = Schema.of(labelled(fits, form), version="1.0.0")
    assert 0.9 * MAX_RECORD < json_size(check_outgoing(schema)) <= MAX_RECORD
    assert schema.sample_type is not None
