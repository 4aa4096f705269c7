"""Statements and reports made to hold the service up: what is done for them grows with their size and no faster, and
what is kept of them does not grow with it.
"""

import io
from typing import Any

import pytest

from tallystick.merchant.reconciliation import adyen_report, camt053
from tallystick.merchant.reconciliation.reading import Reading

Node = camt053.Node
NAME: Any = vars(Node)["name"]  # where it is kept


class Watched(Node):
    """An element that counts how often one of its kind was looked at."""

    __slots__ = ()
    looks = 0

    @property
    def name(self) -> str:
        Watched.looks += 1
        return str(NAME.__get__(self))

    @name.setter
    def name(self, name: str) -> None:
        NAME.__set__(self, name)

    def __eq__(self, other: object) -> bool:
        Watched.looks += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt053, "Node", Watched)


def looks(files: Any, raw: bytes) -> int:
    Watched.looks = 0
    files.read("camt053", raw)
    return Watched.looks


def much(files: Any, size: int) -> bytes:
    """A statement with much in it that is no entry, and as many entries."""
    entries = "".join(files.entry("1.00", more=f"<AddtlNtryInf>{n}</AddtlNtryInf>") for n in range(size))
    raw: bytes = files.camt(files.statement("<X/>" * size + entries, closing=f"{100 + size}.00"))
    return raw


def batch(files: Any, size: int) -> bytes:
    """An entry of many payments that say little of themselves, and whose own words stand at its end."""
    details = "".join(f"<NtryDtls>{files.detail('1.00', f'o{n}')}</NtryDtls>" for n in range(size))
    rest = f"{details}<CdtDbtInd>CRDT</CdtDbtInd><BkTxCd>{'<Y/>' * size}</BkTxCd>"
    entry = files.entry(f"{size}.00").replace("<CdtDbtInd>CRDT</CdtDbtInd>", rest)
    raw: bytes = files.camt(files.statement(entry, closing=f"{100 + size}.00"))
    return raw


@pytest.mark.parametrize("shape", [much, batch])
def test_a_statement_twice_as_long_is_twice_the_work(files: Any, shape: Any) -> None:
    assert looks(files, shape(files, 400)) < 2.5 * looks(files, shape(files, 200))


def test_what_stands_between_entries_does_not_fill_the_memory(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camt053, "NODES_MAX", 1_000)
    between = "<X/>" * 300
    raw = files.camt(files.statement((between + files.entry("1.00")) * 4, closing="104.00"))
    assert files.damage("camt053", raw) == "size"
    raw = files.camt(files.statement(files.entry("1.00", details=files.detail("1.00", "o")) * 400, closing="500.00"))
    assert len(files.read("camt053", raw)[0]) == 400


def test_others_have_a_turn_while_nothing_is_found(files: Any) -> None:
    """Entries that are not booked yet are no lines."""
    raw = files.camt(files.statement(files.entry("1.00").replace("BOOK", "PDNG") * 4_000, closing="100.00"))
    blocks = list(Reading("camt053", io.BytesIO(raw)).blocks(2_000))
    assert not any(blocks)
    assert len(blocks) > len(raw) / camt053.BLOCK_BYTES


def test_blocks_are_as_long_as_was_asked_where_there_are_lines(files: Any) -> None:
    raw = files.stripe(*[files.stripe_row(n) for n in range(5)])
    assert [len(block) for block in Reading("stripe", io.BytesIO(raw)).blocks(2)] == [2, 2, 1]


def test_a_report_of_a_batch_for_each_line_does_not_fill_the_memory(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adyen_report, "BATCHES_MAX", 3, raising=False)
    few, many = ([files.adyen_row(n, **{"Batch Number": str(n % batches)}) for n in range(8)] for batches in (3, 4))
    assert len(files.read("adyen", files.adyen(*few))[0]) == 8
    assert files.damage("adyen", files.adyen(*many)) == "size"
