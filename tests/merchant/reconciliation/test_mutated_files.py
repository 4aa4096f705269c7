"""10,000 mutated files: each is read whole or refused whole with a reason; nothing else is ever raised (RULES §11)."""

import random
from typing import Any

import pytest

from tallystick.merchant.reconciliation.lines import WORDS, FileDamaged

Files = Any

MUTATED = 10_000


def originals(files: Files) -> dict[str, bytes]:
    """A small good file of every layout."""
    details = files.detail("10.00", "a") + files.detail("15.00", "b")
    entries = files.entry("25.00", details=details) + files.entry("5.00", "DBIT")
    return {
        "stripe": files.stripe(
            *(files.stripe_row(n) for n in range(5)), files.stripe_row(9, "refund", gross="-5.00", net="-5.61")
        ),
        "adyen": files.adyen(*(files.adyen_row(n) for n in range(5)), files.adyen_row(9, "Fee")),
        "camt053": files.camt(
            files.statement(entries, closing="120.00"), files.statement("", closing="100.00", id="S2")
        ),
    }


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The file after something happened to it."""
    place, length = chance.randrange(len(raw)), chance.randrange(1, 40)
    lines = raw.split(b"\n")
    match chance.randrange(11):
        case 0:
            return raw[:place]
        case 1:
            return raw[:place] + raw[place + length :]
        case 2:
            return raw[:place] + bytes([chance.randrange(256)]) + raw[place + 1 :]
        case 3:
            return raw[:place] + chance.randbytes(length) + raw[place:]
        case 4:
            return raw[:place] + raw[place : place + length] * 2 + raw[place + length :]
        case 5:
            chance.shuffle(lines)
            return b"\n".join(lines)
        case 6:
            return raw.decode(errors="ignore").encode(
                chance.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp500"]), errors="ignore"
            )
        case 7:
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            return b"\n".join(lines)
        case 8:
            return raw.replace(
                *chance.choice([(b".", b","), (b",", b";"), (b"\n", b"\r"), (b"0", b""), (b"<", b"&lt;")])
            )
        case 9:
            return raw + raw
        case _:
            digits = [index for index, byte in enumerate(raw) if byte in b"0123456789"] or [0]
            place = chance.choice(digits)
            return raw[:place] + str(chance.randrange(10)).encode() + raw[place + 1 :]


@pytest.mark.parametrize("layout", ["stripe", "adyen", "camt053"])
def test_a_mutated_file_is_read_whole_or_refused_with_a_reason(files: Files, layout: str) -> None:
    chance = random.Random(layout)
    good = originals(files)[layout]
    reasons: dict[str, int] = {}
    for _ in range(MUTATED // 3 + 1):
        raw = good
        for _ in range(chance.randrange(1, 3)):
            raw = mutated(raw, chance) or b"x"
        try:
            lines, parts = files.read(layout, raw)
        except FileDamaged as damaged:
            why = damaged.damage
            reasons[why] = reasons.get(why, 0) + 1
        else:
            assert sum(part.lines for part in parts) == len(lines)
            assert sum(part.net_minor for part in parts) == sum(line.gross_minor - line.fee_minor for line in lines)
    assert reasons.keys() <= WORDS.keys()
    assert len(reasons) > 5, reasons
