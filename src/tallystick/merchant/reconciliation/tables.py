"""Delimited text as the readers of reports want it: strict, row by row, every fault a `FileDamaged`."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from tallystick.merchant.reconciliation.lines import FileDamaged

Row = Sequence[str]


def rows_of(file: BinaryIO, required: Sequence[str]) -> tuple[dict[str, int], Iterator[tuple[int, Row]]]:
    """The places of the columns by name, and the rows with their numbers, the header's being 1. Raises FileDamaged, now
    and in passing.
    """
    if not ends_with_a_line(file):
        raise FileDamaged("syntax", detail="it ends in the middle of a line")
    rows = _rows(file)
    first = next(rows, None)
    if first is None:
        raise FileDamaged("empty")
    names = first[1]
    places = {name: place for place, name in enumerate(names)}
    if len(places) != len(names) or not places.keys() >= set(required):
        raise FileDamaged("columns", 1)
    return places, _of_width(rows, len(names))


def ends_with_a_line(file: BinaryIO) -> bool:
    """Whether nothing was cut off: the last line has its end. A value that lost its last digit would still be one."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise FileDamaged("empty")
    file.seek(size - 1)
    last = file.read(1)
    file.seek(0)
    return last == b"\n"


def _of_width(rows: Iterator[tuple[int, Row]], width: int) -> Iterator[tuple[int, Row]]:
    for number, row in rows:
        if len(row) != width:
            raise FileDamaged("columns", number)
        yield number, row


def _rows(file: BinaryIO) -> Iterator[tuple[int, Row]]:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="strict", newline="")
    number = 0
    try:
        # The module's own limit on a field (128 KiB) keeps a quote that nobody closed from filling the memory.
        for number, row in enumerate(csv.reader(text, strict=True), start=1):
            yield number, row
    except UnicodeDecodeError:
        raise FileDamaged("encoding", number + 1) from None
    except csv.Error as error:
        raise FileDamaged("size" if "limit" in str(error) else "syntax", number + 1) from None
    finally:
        if not file.closed:
            text.detach()  # otherwise it would close the file, which is the caller's
