"""Tables as text: a column is what all of its cells are, and no cell is changed on the way to text."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from atdata.errors import ConflictError, LimitError, SampleError, UsageError
from atdata.importers import delimited, open_path


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "data.csv") -> Path:
        place = tmp_path / name
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        return place

    return write


def column(values: list[Any]) -> str:
    return "x,y\n" + "".join(f"{value},0\n" for value in values)


@pytest.mark.parametrize(
    ("cells", "inferred", "values"),
    [
        (["1", "-2", "0"], "int", [1, -2, 0]),
        (["1", "", " 3 "], "int | None", [1, None, 3]),
        (["1", "2.5", "-.5e3"], "float", [1.0, 2.5, -500.0]),
        (["nan", "-Infinity", "1"], "float", [math.nan, -math.inf, 1.0]),
        (["true", "False", "TRUE"], "bool", [True, False, True]),
        (["true", "", ""], "bool | None", [True, None, None]),
        (["a", "", " b "], "str", ["a", "", " b "]),
        (["", ""], "str", ["", ""]),
        (["007", "010"], "str", ["007", "010"]),
        (["007", "10"], "str", ["007", "10"]),
        (["+49", "+1"], "str", ["+49", "+1"]),
        (["1_000", "0x10", "１"], "str", ["1_000", "0x10", "１"]),
        (["18446744073709551615", "0"], "int", [2**64 - 1, 0]),
        (["18446744073709551616", "0"], "str", ["18446744073709551616", "0"]),
        (["9" * 5000], "str", ["9" * 5000]),
        (["9007199254740993", "0.5"], "str", ["9007199254740993", "0.5"]),
        (["1e999", "1"], "str", ["1e999", "1"]),
        (["true", "1"], "str", ["true", "1"]),
        (["2024-01-01"], "str", ["2024-01-01"]),
        (["1.50", "-", ".", "e5", "1e"], "str", ["1.50", "-", ".", "e5", "1e"]),
    ],
)
def test_types(table: Any, imported: Any, types_of: Any, cells: list[str], inferred: str, values: list[Any]) -> None:
    result, samples = imported(table(column(cells)))
    assert types_of(result) == {"x": inferred, "y": "int"}
    assert [repr(s.x) for s in samples] == [repr(value) for value in values]


def test_what_was_decided_is_said(table: Any) -> None:
    result = open_path(table("age,name,zip\n1,,1\n,b,2\n3,c,N/A\n"), "Row")
    assert result.kind == "table (CSV)"
    assert result.notes == (
        "age: empty in 1 row, so it is optional",
        "name: empty in 1 row, kept as empty text",
        "zip: text, for line 2 holds int and line 4 str",
    )


def test_a_type_may_be_decided_by_the_last_of_many_rows(table: Any, imported: Any, types_of: Any) -> None:
    result, samples = imported(table(column([*range(1000), "0.5"])))
    assert types_of(result)["x"] == "float"
    assert [s.x for s in samples] == [*map(float, range(1000)), 0.5]
    result = open_path(table(column([*range(1000), "x"])), "Row")
    assert result.notes == ("x: text, for line 2 holds int and line 1002 str",)


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("a,b\n1,x;y\n", "x.csv", "table (CSV)"),
        ("a;b\n1,5;x\n2,5;y\n", "x.csv", "table (CSV with ;)"),
        ("a\tb\n1\tx,y\n", "x.csv", "table (TSV)"),
        ("a|b\n1|x\n", "x.CSV", "table (CSV with |)"),
        ("a\tb\n1\tx,y,z,w\n", "x.tsv", "table (TSV)"),
        ('a,"b;b;b"\n1,x\n', "x.csv", "table (CSV)"),
    ],
)
def test_delimiters(table: Any, imported: Any, types_of: Any, text: str, name: str, kind: str) -> None:
    result, _ = imported(table(text, name))
    assert result.kind == kind
    assert len(types_of(result)) == 2


def test_quotes_marks_line_ends_and_empty_lines(table: Any, imported: Any) -> None:
    _, samples = imported(table(b'\xef\xbb\xbf\r\n\xc3\xa4,text\r\n\r\n1,"two\r\nlines, ""quoted"""\r\n2,x'))
    assert [(s.ä, s.text) for s in samples] == [(1, 'two\r\nlines, "quoted"'), (2, "x")]


def test_one_column(table: Any, imported: Any) -> None:
    assert [s.x for s in imported(table("x\n1\n2\n"))[1]] == [1, 2]


def test_names_of_columns_become_names_of_fields(table: Any, imported: Any, types_of: Any) -> None:
    result, _ = imported(table("Country Name,2019,,class,a,a\nDE,1,2,3,4,5\n"))
    assert list(types_of(result)) == ["Country_Name", "_2019", "column_3", "class_", "a", "a_2"]
    assert result.notes[-1].startswith("renamed, ")
    assert result.notes[-1].endswith("and 1 more") is False


@pytest.mark.parametrize(
    "text", ["1,2,3\n4,5,6\n", "5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n", ",\n1,2\n", "", "\n\n"]
)
def test_a_table_without_a_header_is_refused(table: Any, text: str) -> None:
    with pytest.raises(UsageError, match="first line") as caught:
        open_path(table(text), "Row")
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a,b\n1,2\n\n3\n", "line 4", "more or fewer cells"),
        ('a,b\n1,"2\n2"\n3,4,5\n', "line 4", "more or fewer cells"),
        ('a,b\n1,"2\n3,4\n', "line 3", "malformed"),
        ('a,b\n1,"2"2\n', "line 2", "malformed"),
        (b"a,b\n1,\xff\n", "after line 0", "UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "after line 0", "UTF-8"),
    ],
)
def test_lines_that_are_no_rows_are_named(table: Any, text: str | bytes, where: str, what: str) -> None:
    place = table(text)
    with pytest.raises(SampleError, match=what) as caught:
        open_path(place, "Row")
    assert (caught.value.uri, caught.value.path) == (str(place), where)


def test_a_header_alone_is_nothing_to_publish(table: Any) -> None:
    with pytest.raises(UsageError, match="no samples"):
        open_path(table("a,b\n"), "Row")


def test_more_columns_than_fields_are_refused(table: Any) -> None:
    with pytest.raises(LimitError, match="columns"):
        open_path(table(",".join(f"c{i}" for i in range(1001)) + "\n" + ",".join("1" * 1001) + "\n"), "Row")


def test_a_table_that_grows_in_between_is_refused(table: Any) -> None:
    place = table("a,b\n1,2\n")
    result = open_path(place, "Row")
    with place.open("a") as file:
        file.write("x,y\n")
    with pytest.raises(ConflictError):
        list(result.samples())


cells = st.text(max_size=4) | st.integers(-(10**20), 10**20).map(str) | st.floats().map(str) | st.booleans().map(str)
kinds = st.sampled_from([st.integers(-9, 9).map(str), st.floats().map(str), st.booleans().map(str), cells, st.just("")])
same_kind = kinds.flatmap(lambda kind: st.lists(kind | st.just(""), min_size=3, max_size=3))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(same_kind, min_size=1, max_size=3), st.sampled_from(",;\t|"))
def test_any_table_comes_back_as_its_cells(tmp_path: Path, columns: list[list[str]], delimiter: str) -> None:
    place = tmp_path / "any.csv"
    columns = [["r", "s", "t"], ["x", "y", "z"], *columns]
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerow([f"c{number}" for number in range(len(columns))])
        writer.writerows(zip(*columns, strict=True))
    samples: list[Any] = list(open_path(place, "Row").samples())
    assert len(samples) == 3
    for number, given_cells in enumerate(columns):
        for cell, sample in zip(given_cells, samples, strict=True):
            value = getattr(sample, f"c{number}")
            match value:
                case None:
                    assert not cell.strip()
                case bool():
                    assert cell.strip().lower() == str(value).lower()
                case str():
                    assert value == cell
                case float():
                    assert repr(value) == repr(float(cell))
                case _:
                    assert str(value) == cell.strip() or cell.strip() == "-0"
    assert type(samples[0]).from_bytes(samples[0].packed) == samples[0]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_that_excel_writes(table: Any, imported: Any, types_of: Any, first: str, end: str) -> None:
    result, samples = imported(table(f"\ufeff{first}{end}a;b,c{end}1,5;x{end}2,5;y{end}"))
    assert types_of(result) == {"a": "str", "b_c": "str"}
    assert [(s.a, s.b_c) for s in samples] == [("1,5", "x"), ("2,5", "y")]
    assert result.kind == "table (CSV with ;)"
    assert not any("comment" in note for note in result.notes)


@pytest.mark.parametrize(
    "delimiter, suffix, kind",
    [("^", ".csv", "CSV with ^"), ("\t", ".csv", "TSV"), (" ", ".csv", "CSV with  "), (",", ".tsv", "CSV")],
)
def test_another_delimiter_that_it_names(
    table: Any, imported: Any, tmp_path: Path, delimiter: str, suffix: str, kind: str
) -> None:
    path = table(f"sep={delimiter}\na{delimiter}b\n1{delimiter}2\n")
    result, samples = imported(path.rename(tmp_path / f"other{suffix}"))
    assert ([(s.a, s.b) for s in samples], result.kind) == ([(1, 2)], f"table ({kind})")


@pytest.mark.parametrize("word", ["NaN", "nan", "Inf", "-inf", "Infinity"])
def test_a_column_of_such_words_alone_is_text(table: Any, imported: Any, types_of: Any, word: str) -> None:
    result, samples = imported(table(f"name,n,x\n{word},{word},1\n{word},0.5,{word}\n,,\n"))
    assert types_of(result) == {"name": "str", "n": "float | None", "x": "float | None"}
    assert [s.name for s in samples] == [word, word, ""]
    assert str(samples[0].n) == str(float(word)), "beside numbers it is one"


def test_cells_are_as_long_as_they_are(table: Any, imported: Any) -> None:
    long = "x" * (1 << 20)
    _, samples = imported(table(f'a,b\n1,{long}\n2,"{long}\n{long}"\n'))
    assert [len(s.b) for s in samples] == [1 << 20, (2 << 20) + 1]


@pytest.mark.parametrize("cell", ["x" * (1 << 25), '"' + ("x" * (1 << 20) + "\n") * 40 + '"'])
def test_but_not_without_end(table: Any, cell: str) -> None:
    with pytest.raises((LimitError, SampleError), match=r"too long|malformed"):
        open_path(table(f"a,b\n1,{cell}\n"), "Row")


@pytest.mark.parametrize(
    ("text", "rows", "notes"),
    [
        ("# made by x\n# on Monday, at noon\na,b\n1,x\n", [(1, "x")], "line 1, line 2"),
        ("# made by x, y\na,b\n1,x\n", [(1, "x")], "line 1"),
        ("a,b\n1,x\n# until here\n2,y\n#\n", [(1, "x"), (2, "y")], "line 3, line 5"),
        ("sep=,\n# a comment\na,b\n1,x\n", [(1, "x")], "line 2"),
    ],
)
def test_comments_are_no_rows(table: Any, imported: Any, text: str, rows: list[Any], notes: str) -> None:
    result, samples = imported(table(text))
    assert [(s.a, s.b) for s in samples] == rows
    assert any(note.endswith(f"(comments): {notes}") for note in result.notes), result.notes


def test_what_begins_with_the_sign_and_is_none(table: Any, imported: Any, types_of: Any) -> None:
    result, samples = imported(table("#chrom\tpos\n1\t2\n#ff0000\t3\n"))
    assert types_of(result) == {"_chrom": "str", "pos": "int"}
    assert [(s._chrom, s.pos) for s in samples] == [("1", 2), ("#ff0000", 3)]
    assert not any("comment" in note for note in result.notes)
    _, samples = imported(table("tag\n#one\n#two\n"))
    assert [s.tag for s in samples] == ["#one", "#two"]


CELLS = st.sampled_from(
    [
        "1",
        "-7",
        "0",
        "007",
        "12345678901234567",
        "9" * 25,
        "1.5",
        ".5",
        "2.",
        "-0.25",
        "1e3",
        "1e999",
        "nan",
        "NaN",
        "inf",
        "",
        "",
        " ",
        "x",
        "name1",
        "2024-01-02",
        "true",
        "False",
        " 3",
        "4 ",
        "5\xa0",
        "a\nb",
        "\u2028",
        "+4",
        "1_0",
        "-",
    ]
)


@example([["nan", "x"], ["1"]])
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=12))
def test_columns_are_told_at_once_as_cell_by_cell(blocks: list[list[str]]) -> None:
    """What blocks of cells make of a column is what each cell by itself does."""
    at_once, each = delimited._Cells(), delimited._Cells()
    for number, block in enumerate(blocks):
        for column, alike in ((at_once, True), (each, False)):
            if alike and column.add_alike(block):
                continue
            for cell in block:
                delimited._see(column, cell, lambda number=number: f"block {number}", 1)
    for name in ("guess", "rows", "empty", "numbers", "clash"):
        assert getattr(at_once, name) == getattr(each, name), name
