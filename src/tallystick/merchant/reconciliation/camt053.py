"""Bank statements: camt.053 of ISO 20022, versions 02 to 13, as banks send them.

What is different from other layouts:

    direction      amounts have no sign; `CdtDbtInd` is CRDT or DBIT, and a detail may leave it to its entry
    reversal       `RvslInd` says that an entry takes back an earlier one. `CdtDbtInd` is then already the direction in
                   which the money now goes: turning it once more is the classic mistake
    batch entries  one entry may stand for many payments (`NtryDtls/TxDtls`), which must sum to it; or be told as one
                   number alone, and then it is one line
    currency       an attribute of every amount; all must be the account's
    statements     a file may hold several, each of one account, with its own balances (OPBD, CLBD) and sequence
    status         only what is booked (BOOK) counts

The parser takes no document type and no entities, so nothing can be fetched or blown up; one entry is in memory at a
time, and what is asked for of it for each of its payments is found at once, however much stands beside it.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import BinaryIO, Final
from xml.parsers import expat

from tallystick.kernel.money import EXPONENTS, AmountRefused, parse_decimal
from tallystick.merchant.reconciliation.lines import (
    Category,
    FileDamaged,
    Manifest,
    SettlementLine,
    an_id,
    in_range,
    our_reference,
)

BLOCK_BYTES: Final = 64 * 1024
DEPTH_MAX: Final = 40  # the schema's own deepest element lies at 16
NODES_MAX: Final = 210_000  # in memory: of one entry, a batch of ten thousand payments, and its statement
TEXT_CHARACTERS_MAX: Final = 10_000
OPENING: Final = ("OPBD", "PRCD")
CLOSING: Final = "CLBD"
CHARGES: Final = frozenset({"CHRG", "COMM", "FEES", "INTR"})  # of BkTxCd: what the bank takes for itself
WHOLES: Final = ("Stmt", "Ntry")  # what is handed over once it has ended


class Node:
    """An element: its name, its currency attribute, its text and what stands in it."""

    __slots__ = ("_firsts", "currency", "name", "nodes", "text")

    def __init__(self, name: str, currency: str | None) -> None:
        self.name = name
        self.currency = currency
        self.text = ""
        self.nodes: list[Node] = []
        self._firsts: dict[str, Node] | None = None  # of each name, where anything stands in it

    def add(self, node: "Node") -> None:
        """Put an element in, behind the others."""
        self.nodes.append(node)
        if self._firsts is None:
            self._firsts = {}
        if node.name not in WHOLES:  # these are let go, and nobody looks for them here
            self._firsts.setdefault(node.name, node)

    def all(self, name: str) -> "list[Node]":
        """The elements of this name that stand in it."""
        return [node for node in self.nodes if node.name == name]

    def find(self, path: str) -> "Node | None":
        """The first element at `path`, such as `Refs/EndToEndId`."""
        node: Node | None = self
        for name in path.split("/"):
            node = node._firsts.get(name) if node and node._firsts else None
        return node

    def words(self, path: str) -> str:
        """The text at `path`, empty where there is none."""
        node = self.find(path)
        return node.text.strip() if node else ""


def read_camt053(file: BinaryIO) -> Iterator[Manifest | SettlementLine | None]:
    """The statements of a file, each as its manifest and then its lines; None after each block of the file, which may
    hold none. Raises FileDamaged."""
    statements = entries = 0
    statement: Node | None = None
    currency = ""
    for element in _elements(file):
        if element is None:
            yield None
            continue
        place, node, parent = element
        whole = parent if node.name == "Ntry" else node
        if statement is None:
            statement, currency, entries = whole, _currency(whole, place), 0
            statements += 1
            yield _manifest(whole, currency, place)
        if node.name == "Ntry":
            entries += 1
            yield from _entry(node, currency, statement, place)
        else:
            _check_count(node, entries, place)
            statement = None
    if not statements:
        raise FileDamaged("empty")


# --- the parser ------------------------------------------------------------------------------------------------------


def _elements(file: BinaryIO) -> Iterator[tuple[int, Node, Node] | None]:
    """Every entry as it ends, with its statement as far as it is known, and every statement as it ends; None after each
    block of the file."""
    builder = _Builder()
    try:
        while block := file.read(BLOCK_BYTES):
            builder.parser.Parse(block, False)
            while builder.ended:
                yield builder.ended.popleft()
            yield None
        builder.parser.Parse(b"", True)
    except expat.ExpatError as error:
        damage = "empty" if error.code == _NO_ELEMENTS else "syntax"
        raise FileDamaged(damage, error.lineno) from None  # type: ignore[arg-type]  # both are words of the list
    except (LookupError, ValueError):
        # An encoding that the declaration names and nobody knows.
        raise FileDamaged("encoding") from None
    while builder.ended:
        yield builder.ended.popleft()


_NO_ELEMENTS = 3  # XML_ERROR_NO_ELEMENTS


class _Builder:
    """Builds statements and entries out of what the parser meets; an entry that has ended is let go."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.ended: deque[tuple[int, Node, Node]] = deque()
        self._open: list[Node] = []
        self._nodes = 0  # in memory
        self._nodes_before: list[int] = []  # each of the wholes that are open

    def _refuse(self, *_: object) -> int:
        raise FileDamaged("syntax", self.parser.CurrentLineNumber, "document types and entities are not taken")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if not self._open and not (local == "Document" and ":camt.053." in space):
            raise FileDamaged("syntax", self.parser.CurrentLineNumber, "it is no camt.053 document")
        if local in WHOLES:
            self._nodes_before.append(self._nodes)
        self._nodes += 1
        if len(self._open) >= DEPTH_MAX or self._nodes > NODES_MAX:
            raise FileDamaged("size", self.parser.CurrentLineNumber)
        node = Node(local, attributes.get("Ccy"))
        if self._open:
            self._open[-1].add(node)
        self._open.append(node)

    def _text(self, text: str) -> None:
        node = self._open[-1]
        node.text += text
        if len(node.text) > TEXT_CHARACTERS_MAX:
            raise FileDamaged("size", self.parser.CurrentLineNumber)

    def _end(self, _: str) -> None:
        node = self._open.pop()
        if node.name in WHOLES and self._open:
            parent = self._open[-1]
            self.ended.append((self.parser.CurrentLineNumber, node, parent))
            parent.nodes.pop()  # the last one
            self._nodes = self._nodes_before.pop()


# --- what it says ----------------------------------------------------------------------------------------------------


def _currency(statement: Node, place: int) -> str:
    """The currency of a statement's account."""
    currency = statement.words("Acct/Ccy")
    if not currency:
        amounts = [amount for balance in statement.all("Bal") if (amount := balance.find("Amt"))]
        currency = (amounts[0].currency or "") if amounts else ""
    if currency not in EXPONENTS:
        raise FileDamaged("currency", place)
    return currency


def _check_count(statement: Node, entries: int, place: int) -> None:
    told = statement.words("TxsSummry/TtlNtries/NbOfNtries")
    if told and told != str(entries):
        raise FileDamaged("count", place, f"{entries} entries")


def _manifest(statement: Node, currency: str, place: int) -> Manifest:
    balances = {kind: balance for balance in statement.all("Bal") if (kind := balance.words("Tp/CdOrPrtry/Cd"))}
    opening = next((balances[kind] for kind in OPENING if kind in balances), None)
    closing = balances.get(CLOSING)
    if opening is None or closing is None:
        raise FileDamaged("balance", place, "opening or closing balance is missing")
    sequence = statement.words("ElctrncSeqNb") or statement.words("LglSeqNb")
    if sequence and not (sequence.isascii() and sequence.isdigit() and len(sequence) <= 18):
        raise FileDamaged("field", place)
    return Manifest(
        currency=currency,
        account=an_id(statement.words("Acct/Id/IBAN") or statement.words("Acct/Id/Othr/Id"), place),
        day=_day(closing.find("Dt"), place),
        sequence=int(sequence) if sequence else None,
        opening_minor=_signed(opening, currency, place),
        closing_minor=_signed(closing, currency, place),
    )


def _entry(entry: Node, currency: str, statement: Node, place: int) -> Iterator[SettlementLine]:
    status = entry.words("Sts/Cd") or entry.words("Sts")
    if status != "BOOK":
        return
    amount = _signed(entry, currency, place)
    reference = an_id(entry.words("AcctSvcrRef") or entry.words("NtryRef"), place)
    booked = _time(entry.find("BookgDt"), place)
    reversal = entry.words("RvslInd") in ("true", "1")
    statement_id = an_id(statement.words("Id"), place)
    if statement_id is None or reference is None:
        raise FileDamaged("field", place, "an entry or its statement has no reference")
    details = [(group, detail) for group in entry.all("NtryDtls") for detail in group.all("TxDtls")]
    amounts = [_detail_amount(detail, entry, currency, place) for _, detail in details]
    if len(details) <= 1 or all(each is None for each in amounts):
        # One payment, or a batch that is told as one number.
        details, amounts = details[:1] or [(entry, entry)], [amount]
    if any(each is None for each in amounts) or sum(each for each in amounts if each is not None) != amount:
        raise FileDamaged("batch", place)
    codes = {node.text.strip() for node in _within(entry.find("BkTxCd"))}
    for number, ((group, detail), each) in enumerate(zip(details, amounts, strict=True), start=1):
        assert each is not None
        batch = group.words("Btch/PmtInfId") or detail.words("Refs/PmtInfId") or entry.words("NtryDtls/Btch/PmtInfId")
        end_to_end = detail.words("Refs/EndToEndId")
        suffix = f"/{number}" if len(details) > 1 else ""
        yield SettlementLine(
            line_id=f"{statement_id}/{reference}{suffix}",
            created_at=booked,
            currency=currency,
            gross_minor=in_range(each, place),
            fee_minor=0,
            net_minor=each,
            category=_category(codes, each, reversal=reversal),
            source=an_id(detail.words("Refs/AcctSvcrRef"), place) or reference,
            order_reference=our_reference(end_to_end) if end_to_end != "NOTPROVIDED" else None,
            payout=our_reference(batch),
        )


def _category(codes: set[str], amount: int, *, reversal: bool) -> Category:
    """Money that comes in is a payout that arrived; one that is taken back has failed. The bank's own charges are fees,
    and the rest is for a person.
    """
    if codes & CHARGES:
        return "fee"
    if amount > 0 and not reversal:
        return "payout"
    return "payout_failure" if amount < 0 and reversal else "other"


def _within(node: Node | None) -> Iterator[Node]:
    if node is not None:
        yield node
        for each in node.nodes:
            yield from _within(each)


def _detail_amount(detail: Node, entry: Node, currency: str, place: int) -> int | None:
    """A detail's amount, signed by its own direction or by its entry's; None where it has none."""
    amount = detail.find("Amt") or detail.find("AmtDtls/TxAmt/Amt")
    if amount is None:
        return None
    return _direction(detail.words("CdtDbtInd") or entry.words("CdtDbtInd"), place) * _minor(amount, currency, place)


def _signed(node: Node, currency: str, place: int) -> int:
    amount = node.find("Amt")
    if amount is None:
        raise FileDamaged("amount", place)
    return _direction(node.words("CdtDbtInd"), place) * _minor(amount, currency, place)


def _direction(word: str, place: int) -> int:
    if word not in ("CRDT", "DBIT"):
        raise FileDamaged("field", place)
    return 1 if word == "CRDT" else -1


def _minor(amount: Node, currency: str, place: int) -> int:
    text = amount.text.strip()
    if amount.currency != currency:
        raise FileDamaged("currency", place)
    try:
        minor = parse_decimal(text, EXPONENTS[currency])
    except AmountRefused:
        raise FileDamaged("amount", place) from None
    if minor < 0:
        raise FileDamaged("amount", place)
    return minor


def _time(node: Node | None, place: int) -> datetime:
    """`Dt` or `DtTm`; a time without a zone is read as UTC, a day as its beginning."""
    try:
        text = node.words("DtTm") or node.words("Dt") if node else ""
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FileDamaged("date", place) from None


def _day(node: Node | None, place: int) -> date:
    return _time(node, place).date()
