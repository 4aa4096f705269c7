"""What a seed is about: how many of whom, for how long, and what they want. Drawn from the seed."""

import random
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

SHORT_ORDERS: Final = (3, 4)
LONG_ORDERS: Final = 500
LONG_SHOPS: Final = 20
LONG_DAYS: Final = 3

# Which shoppers come in a scenario, and how often each.
SCENARIOS: Final[Mapping[str, Mapping[str, int]]] = {
    "checkout": {
        "pays": 6,
        "double_click": 2,
        "two_tabs": 2,
        "closes_tab": 2,
        "bank_timeout_approved": 2,
        "abandons": 1,
    },
    "declines": {"declined_then_pays": 3, "declined_until_closed": 4, "bank_timeout_declined": 2, "pays": 1},
    "challenge": {
        "challenge_met": 4,
        "challenge_failed": 2,
        "challenge_left": 2,
        "challenge_twice": 2,
        "bank_timeout_approved": 2,
    },
    "expiry": {"comes_late": 6, "abandons": 2, "bank_late": 2, "challenge_left": 1, "bank_after_cancel": 1},
    "sdk": {"sdk_charge": 4, "sdk_capture": 3, "sdk_cancel": 2, "sdk_bank": 3, "pays": 1},
    "bank": {
        "bank_late": 3,
        "bank_timeout_approved": 3,
        "bank_timeout_declined": 3,
        "bank_after_cancel": 3,
        "sdk_bank": 3,
    },
    "refunds": {"sdk_refund": 4, "shop_refunds": 5, "pays": 1},
    "again": {"pays_again": 6, "comes_late": 2, "bank_after_cancel": 1, "bank_timeout_approved": 1},
}
MIXED: Final = {shopper: share for shares in SCENARIOS.values() for shopper, share in shares.items()}


class Scenario(Struct, frozen=True, kw_only=True):
    """One seed's plan. Times in virtual seconds."""

    name: str
    shops: int
    orders: int
    gateways: int
    merchants: int
    arrivals_s: float
    faults_s: float
    ttl_s: tuple[int, int]
    shoppers: Mapping[str, int]


def scenario_of(seed: int, *, name: str | None = None, long: bool = False) -> Scenario:
    """The scenario of a seed: the one that is named, or one that the seed chooses."""
    chance = random.Random(f"{seed}:scenario")
    drawn = chance.choice(sorted(SCENARIOS))
    if long:
        return Scenario(
            name=name or "long",
            shops=LONG_SHOPS,
            orders=LONG_ORDERS,
            gateways=2,
            merchants=2,
            arrivals_s=LONG_DAYS * 86400.0,
            faults_s=LONG_DAYS * 86400.0,
            ttl_s=(300, 1800),
            shoppers=SCENARIOS[name] if name is not None else MIXED,
        )
    name = name or drawn
    arrivals_s = chance.choice((5.0, 60.0, 600.0))
    return Scenario(
        name=name,
        shops=chance.choice((1, 1, 2)),
        orders=chance.randint(*SHORT_ORDERS),
        gateways=chance.choice((1, 1, 2)),
        merchants=chance.choice((1, 1, 2)),
        arrivals_s=arrivals_s,
        faults_s=arrivals_s + chance.choice((60.0, 600.0, 2400.0)),
        ttl_s=(60, 600),
        shoppers=SCENARIOS[name],
    )
