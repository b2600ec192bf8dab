"""The page of a lens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from atdata.appview.web.pages import LensPage
from atdata.appview.web.parts import CodeRow
from atdata.appview.web.schemas import table_of
from atdata.appview.web.source import PageSource, provenance_of
from atdata.appview.web.things import verifications_of
from atdata.errors import AtdataError
from atdata.lens import Program
from atdata.records import CodeReference, LensRecord, Schema
from atdata.replica import StoredRecord

_STEPS, _PROGRAM = 100, 8000


def lens_page(source: PageSource, stored: StoredRecord, lens: LensRecord) -> LensPage:
    """The page of a lens."""
    ends = [str(lens.source_schema), str(lens.target_schema)]
    before, after = (source.record(uri, Schema) for uri in ends)
    program = None if lens.program is None else lens.program.value
    return LensPage(
        name=lens.name,
        uri=str(stored.uri),
        account=source.account(stored.did),
        description=lens.description or "",
        source=source.named(ends[0], before),
        target=source.named(ends[1], after),
        source_fields=table_of(before),
        target_fields=table_of(after),
        source_versions=lens.source_schema_version or "",
        target_versions=lens.target_schema_version or "",
        steps=() if program is None else steps_of(program, before),
        program="" if program is None else json.dumps(program, indent=1, ensure_ascii=False)[:_PROGRAM],
        code=(_code("getter", lens.getter_code), _code("putter", lens.putter_code)),
        two_way=lens.has_putter,
        verifications=verifications_of(source, stored),
        list_note=_list_note(source),
        provenance=provenance_of(stored),
        labels=source.labels_on(stored),
    )


def steps_of(program: Mapping[str, Any], source: Schema | None) -> tuple[str, ...]:
    """The steps of a program in words: as they are bound to the source's fields, else as they are written."""
    steps: Sequence[Any] = program.get("steps", ())
    steps = steps if isinstance(steps, list) else ()
    if source is not None and len(steps) <= _STEPS:
        try:
            fields = {field.name: field for field in source.sample_schema.fields}
            return tuple(step.text for step in Program.parse(program).bind_fields(fields))
        except AtdataError:
            pass  # then it is shown as it stands
    return tuple(map(_as_written, steps[:_STEPS])) + (("…",) if len(steps) > _STEPS else ())


def _as_written(step: Any) -> str:
    if not isinstance(step, Mapping):
        return json.dumps(step, ensure_ascii=False)[:200]
    said = [f"{name} {json.dumps(value, ensure_ascii=False)[:80]}" for name, value in step.items() if name != "op"]
    return f"{step.get('op')} {', '.join(said)}"[:400]


def _code(role: str, code: CodeReference) -> CodeRow:
    return CodeRow(role, code.repository, code.commit, code.path)


def _list_note(source: PageSource) -> str:
    count = len(source.verifiers.verifiers)
    if not count:
        return "This service lists no trusted verifiers: what each is worth is for you to say."
    return f"Trusted are those on this service's list of {count:,}, in version {source.verifiers.version}."
