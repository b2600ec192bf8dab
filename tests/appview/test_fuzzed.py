"""Whatever is asked, by a generator that knows the description of the methods, the answer is one that they have."""

from __future__ import annotations

from pathlib import Path

from atdata.appview.xrpc.lexicons import NAMESPACE, description, method_lexicons
from support.appviews import answering
from support.fuzzing import served_for


def test_no_question_makes_a_fault(tmp_path: Path) -> None:
    """`python -m support.fuzzing`, in `tests`, asks more."""
    found = served_for(300, tmp_path)
    assert found.faults == []
    assert found.asked >= 200
    assert {200, 400, 404} <= set(found.statuses), "good and bad ones"
    assert found.grown < 50 << 20


def test_the_description_has_every_method_and_nothing_that_leads_nowhere(tmp_path: Path) -> None:
    said = description()
    methods = {path.removeprefix(f"/xrpc/{NAMESPACE}.") for path in said["paths"]}
    assert {"getEntry", "searchDatasets", "resolveLabel", "indexNow"} <= methods
    assert {f"{NAMESPACE}.{name}" for name in methods} <= {str(nsid) for nsid in method_lexicons()}
    texts = str(said)
    refs = {part.split("'")[0] for part in texts.split("#/components/schemas/")[1:]}
    assert refs <= set(said["components"]["schemas"])
    with answering(tmp_path / "a.db") as (_, asker):
        assert asker.send("GET", "/openapi.json").json == said
