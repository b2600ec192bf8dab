"""The faults that `python3 dev.py mutants` plants can be planted: their words stand in the code, once."""

from __future__ import annotations

from support.mutants import MUTANTS, SOURCE


def test_each_fault_has_its_place() -> None:
    files = {mutant.file: SOURCE / "atdata" / "appview" / "ingest" / f"{mutant.file}.py" for mutant in MUTANTS}
    texts = {name: path.read_text("utf-8") for name, path in files.items()}
    assert [mutant for mutant in MUTANTS if texts[mutant.file].count(mutant.old) != 1] == []
    assert len(MUTANTS) >= 40
