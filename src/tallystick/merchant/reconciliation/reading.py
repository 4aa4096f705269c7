"""A file read through its layout's reader and watched over to its end."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import BinaryIO, Literal

from tallystick.merchant.reconciliation.adyen_report import read_adyen
from tallystick.merchant.reconciliation.camt053 import read_camt053
from tallystick.merchant.reconciliation.lines import FileDamaged, Manifest, Reader, SettlementLine, Tally
from tallystick.merchant.reconciliation.stripe_report import read_stripe

Layout = Literal["stripe", "adyen", "camt053"]

READERS: MappingProxyType[Layout, Reader] = MappingProxyType(
    {"stripe": read_stripe, "adyen": read_adyen, "camt053": read_camt053}
)


class Reading:
    """The lines of a file, to be read once, in blocks. Whoever reads to the end without a FileDamaged has read a whole
    file, and `parts` then holds what was counted, a manifest for each part.
    """

    def __init__(self, layout: Layout, file: BinaryIO, manifest: Manifest | None = None) -> None:
        self.parts: list[Manifest] = []
        self._told = manifest
        self._read = READERS[layout](file)

    def blocks(self, lines_max: int) -> Iterator[list[SettlementLine]]:
        """The lines in blocks of `lines_max`; one is shorter, or empty, where much was read without finding any."""
        block: list[SettlementLine] = []
        for each in self._walk():
            if each is not None:
                block.append(each)
                if len(block) < lines_max:
                    continue
            yield block
            block = []
        yield block

    def _walk(self) -> Iterator[SettlementLine | None]:
        tally: Tally | None = None
        for each in self._read:
            if each is None:
                yield None
            elif isinstance(each, SettlementLine):
                assert tally is not None, "a reader gives a manifest before its lines"
                tally.add(each)
                yield each
            else:
                self._close(tally)
                # What came beside the file says more than the layout can.
                tally = Tally(self._told or each, first_line=2)
        self._close(tally)
        if not self.parts:
            raise FileDamaged("empty")

    def _close(self, tally: Tally | None) -> None:
        if tally is not None:
            self.parts.append(tally.close())
