"""Rows turned into the arrays that `unnest` takes: how a batch becomes the parameters of one statement."""

from collections.abc import Sequence
from typing import Any


def columns(width: int, rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """`width` lists, the n-th with every row's n-th field; as many empty lists where there is no row."""
    if not rows:
        return [[] for _ in range(width)]
    transposed = [list(column) for column in zip(*rows, strict=True)]
    assert len(transposed) == width, "the statement's columns are the row's fields"
    return transposed
