"""A batch as the parameters of one statement: arrays for `unnest`, or one JSON text for `json_to_recordset`.

Arrays are for a few columns: every array is work for the driver, element by element. From about ten columns on the JSON
text costs the driver a third less and the server the same. `bytea` does not travel in it."""

from collections.abc import Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def columns(width: int, rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """`width` lists, the n-th with every row's n-th field; as many empty lists where there is no row."""
    if not rows:
        return [[] for _ in range(width)]
    transposed = [list(column) for column in zip(*rows, strict=True)]
    assert len(transposed) == width, "the statement's columns are the row's fields"
    return transposed


def recordset(rows: Sequence[msgspec.Struct]) -> str:
    """The text from which `json_to_recordset` takes `rows`; their fields bear the names of its columns."""
    return _encode(rows).decode()
