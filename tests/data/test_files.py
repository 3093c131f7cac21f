from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dimscope.core.errors import UserError
from dimscope.data.files import Table, read_table, read_unquoted

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TRICKY = st.sampled_from(['"', '""', ",", "\t", "\n", "\r\n", "NA", "null", "", "a,b", '"a"', "é😀", "=1+1", " x "])
CELLS = ANY_TEXT | TRICKY
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8)
NAMES = ("text", "label")

Rows = list[tuple[str, str]]


def delimited(delimiter: str) -> Callable[[Path, Rows], None]:
    def write(path: Path, rows: Rows) -> None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])

    return write


def write_jsonl(path: Path, rows: Rows) -> None:
    lines = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_bytes("\n".join(lines).encode())


def write_parquet(path: Path, rows: Rows) -> None:
    pyarrow.parquet.write_table(pyarrow.table(dict(zip(NAMES, zip(*rows, strict=True), strict=True))), path)


WRITERS = {".csv": delimited(","), ".tsv": delimited("\t"), ".jsonl": write_jsonl, ".parquet": write_parquet}


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_what_was_written_comes_back(suffix: str, rows: Rows):
    # Quoted or not, such a TSV would have whole rows: nobody can tell.
    assume(suffix != ".tsv" or not any("\t" in cell and {*"\r\n"} & {*cell} for row in rows for cell in row))
    with TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        WRITERS[suffix](path, rows)
        table = read_table(path)
    assert list(zip(*table.columns.values(), strict=True)) == rows
    assert (tuple(table.columns), table.notes) == (NAMES, ())


LATIN = st.text(st.characters(codec="latin-1", min_codepoint=0xA0) | st.sampled_from("ab c,"), min_size=1, max_size=20)
TEXTS = {".csv": ",", ".tsv": "\t", ".jsonl": None}


def encoded(rows: Rows, suffix: str, encoding: str) -> bytes:
    with TemporaryDirectory() as folder:
        WRITERS[suffix](path := Path(folder, "x"), rows)
        return path.read_bytes().decode().encode(encoding)


def read_bytes(data: bytes, suffix: str) -> Table:
    with TemporaryDirectory() as folder:
        (path := Path(folder, f"x{suffix}")).write_bytes(data)
        return read_table(path)


@pytest.mark.parametrize("suffix", TEXTS)
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(LATIN, LATIN), min_size=1, max_size=8))
def test_a_mark_or_another_encoding_changes_no_cell(suffix: str, rows: Rows):
    rows = [("é a", "1"), *rows]  # as Latin-1, this is surely no UTF-8
    notes = {"utf-8": None, "utf-8-sig": None, "utf-16": "utf-16", "latin-1": "cp1252"}
    for encoding, told in notes.items():
        table = read_bytes(encoded(rows, suffix, encoding), suffix)
        assert list(zip(*table.columns.values(), strict=True)) == rows
        assert table.notes == ((f"x{suffix} is not UTF-8 and is read as {told}",) if told else ())


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CELLS


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=8))
def test_values_of_any_types_stand_beside_each_other_in_jsonl(rows: list[tuple[object, object]]):
    lines = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in rows]
    table = read_bytes("\n".join(lines).encode(), ".jsonl")
    read = list(zip(*table.columns.values(), strict=True))
    assert [[(type(each), each) for each in row] for row in read] == [
        [(type(each), each) for each in row] for row in rows
    ]


@pytest.mark.parametrize("suffix", WRITERS)
@settings(max_examples=20, deadline=None)
@given(names=st.lists(st.sampled_from("abc"), min_size=2, max_size=4).filter(lambda names: len({*names}) < len(names)))
def test_a_column_that_is_there_twice_is_refused(suffix: str, names: list[str]):
    cells = ["1"] * len(names)
    with TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        if suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.table([[cell] for cell in cells], names=names), path)
        elif suffix == ".jsonl":
            path.write_text("{" + ", ".join(f'"{name}": 1' for name in names) + "}\n")
        else:
            path.write_text("\n".join(TEXTS[suffix].join(row) for row in (names, cells)))
        with pytest.raises(UserError, match="several columns named"):
            read_table(path)


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=8))
def test_unquoted_cells_come_back_as_they_stand(rows: Rows):
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.tsv")
        path.write_bytes("\n".join("\t".join(row) for row in [NAMES, *rows]).encode() + b"\n")
        table = read_unquoted(path)
    assert list(zip(*table.columns.values(), strict=True)) == rows


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    for name in ("x.csv", "x.tsv"):
        content = "text,label\na,1\n".replace(",", "," if name == "x.csv" else "\t")
        assert list(read_table(written(tmp_path, name, b"\xef\xbb\xbf" + content.encode())).columns) == list(NAMES)


@pytest.mark.parametrize(
    ("data", "text", "encoding"), [(b"caf\xe9 \x80", "café €", "cp1252"), (b"caf\xe9 \x81", "café \x81", "latin-1")]
)
def test_another_encoding_is_read_and_noted(tmp_path: Path, data: bytes, text: str, encoding: str):
    table = read_table(written(tmp_path, "x.csv", b"text,label\n" + data + b",1\n"))
    assert table.columns["text"] == (text,)
    assert table.notes == (f"x.csv is not UTF-8 and is read as {encoding}",)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_long_cell_is_read_whole_and_the_limit_of_others_is_as_before(tmp_path: Path, suffix: str):
    limit = csv.field_size_limit()
    long = 'x"\n,' * 2_500_000
    WRITERS[suffix](tmp_path / f"x{suffix}", [(long, "1"), ("short", "0")])
    (read, short) = read_table(tmp_path / f"x{suffix}").columns["text"]
    assert len(read) == 10_000_000
    assert (read == long, short) == (True, "short")
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    "content",
    [
        'text\tlabel\nhe said "no\t0\n"so\t1\n',  # a quote that is never closed
        'text\tlabel\n"a" b\t0\nc\t1\n',  # a quote that is closed too early
        'text\tlabel\n"a\t0\nb"\t1\n',  # two quotes that would swallow a row
    ],
)
def test_stray_quotes_of_a_tsv_are_characters(tmp_path: Path, content: str):
    table = read_table(written(tmp_path, "x.tsv", content))
    assert table.columns["text"] == tuple(line.split("\t")[0] for line in content.split("\n")[1:-1])
    assert table.notes == ("x.tsv: quotes are read as characters like any other",)


def test_rows_of_another_length_are_left_out_where_quotes_are_none(tmp_path: Path):
    table = read_unquoted(written(tmp_path, "x.tsv", "a\tb\n1\t2\n3\n4\t5\t6\n7\t8\n"))
    assert table.columns == {"a": ("1", "7"), "b": ("2", "8")}
    assert table.notes == ("x.tsv: 2 rows with missing or surplus cells are left out",)


def test_values_of_jsonl_keep_their_types_and_gaps(tmp_path: Path):
    table = read_table(written(tmp_path, "x.jsonl", '{"text": "a", "label": 1}\n\n{"label": "x", "more": null}\n'))
    assert table.columns == {"text": ("a", None), "label": (1, "x"), "more": (None, None)}


def test_values_of_parquet_keep_their_types_and_gaps(tmp_path: Path):
    columns = {"text": ["a", None], "label": [1, 0], "grade": [0.5, None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet").columns == {name: tuple(each) for name, each in columns.items()}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", "", "holds nothing"),
        ("x.tsv", "", "holds nothing"),
        ("x.jsonl", "\n\n", "holds nothing"),
        ("x.csv", "text,label\n", "a header and no rows"),
        ("x.tsv", "text\tlabel\n", "a header and no rows"),
        ("x.csv", "text,text\na,b\n", "several columns named 'text'"),
        ("x.csv", "text,label\na,1\nb\n", "row 2 of .* has 1 cells, but its header has 2"),
        ("x.tsv", "text\tlabel\na\t1\t2\n", "row 1 of .* has 3 cells, but its header has 2"),
        ("x.csv", 'text,label\n"a,1\n', "no proper CSV: .*every quote is closed"),
        ("x.jsonl", '{"text": "a"}\n{"text": \n', "line 2 of .* is no JSON"),
        ("x.jsonl", "[1]\n", "line 1 of .* no JSON object"),
        ("x.jsonl", "[" * 200_000, "line 1 of .* is no JSON"),
        ("x.parquet", "PAR0", "no proper Parquet"),
        ("x.xlsx", "x", r"wanted a file that ends with \.csv, \.tsv, \.jsonl, \.parquet"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, name: str, content: str, told: str):
    with pytest.raises(UserError, match=told):
        read_table(written(tmp_path, name, content))


def test_parquet_without_rows_or_with_a_name_twice_is_told(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(UserError, match="a header and no rows"):
        read_table(path)
    pyarrow.parquet.write_table(pyarrow.table([["a"], ["b"]], names=["text", "text"]), path)
    with pytest.raises(UserError, match="several columns named 'text'"):
        read_table(path)


@pytest.mark.parametrize("read", [read_table, read_unquoted])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, read: Callable[[Path], object]):
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path / "x.csv")
