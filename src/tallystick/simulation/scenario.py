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
    "expiry": {"comes_late": 6, "abandons": 2, "bank_late": 3, "challenge_left": 1, "bank_after_cancel": 3},
    "sdk": {"sdk_charge": 4, "sdk_capture": 3, "sdk_cancel": 2, "sdk_bank": 3, "pays": 1},
    "bank": {
        "bank_late": 4,
        "bank_timeout_approved": 3,
        "bank_timeout_declined": 3,
        "bank_after_cancel": 5,
        "sdk_bank": 3,
    },
    "refunds": {"sdk_refund": 4, "shop_refunds": 5, "pays": 1},
    "again": {"pays_again": 6, "comes_late": 2, "bank_after_cancel": 2, "bank_timeout_approved": 1},
}
MIXED: Final = {
    **{shopper: share for shares in SCENARIOS.values() for shopper, share in shares.items()},
    "saves_card": 3,
    "comes_again": 2,
}


class Breadth(Struct, frozen=True, kw_only=True):
    """What a scenario has beyond shoppers: `acts` of operators, with how often each, some at once; whether shops listen
    and have stock, and a gateway takes money for what it said is closed; a schedule of the gateway's webhooks; whether
    orders name customers, and the card vault may be away."""

    acts: Mapping[str, int]
    listens: bool = False
    stock: bool = False
    yet_paid: bool = False
    acts_at_once: int = 1
    webhook_schedule_s: str | None = None
    people: bool = False


# Scenarios that came later. Which of them a seed is about is drawn apart, so that the seeds of the others stay.
BROADER: Final[Mapping[str, tuple[Mapping[str, int], Breadth]]] = {
    "notifications": (
        {
            "pays": 4,
            "declined_until_closed": 2,
            "comes_late": 2,
            "abandons": 2,
            "shop_refunds": 2,
            "pays_again": 1,
            "bank_wrong_amount": 1,
        },
        Breadth(
            listens=True,
            acts_at_once=2,
            acts={
                "bad_day": 6,
                "notifications_disabled": 3,
                "notification_secret_rotation": 3,
                "redrive_of_notifications": 6,
            },
        ),
    ),
    "stock": (
        {"comes_after_the_end": 7, "pays_again": 2, "comes_late": 1, "abandons": 1, "bank_wrong_amount": 1},
        Breadth(listens=True, stock=True, yet_paid=True, acts={"notifications_disabled": 1, "bad_day": 1}),
    ),
    "on_demand": (
        {
            "pays": 3,
            "closes_tab": 1,
            "sdk_capture": 3,
            "sdk_refund": 3,
            "sdk_cancel": 1,
            "bank_wrong_amount": 1,
            "comes_late": 1,
        },
        Breadth(acts={"fault_on_demand": 1}, acts_at_once=4),
    ),
    "endpoints": (
        {"pays": 4, "comes_late": 2, "abandons": 1, "sdk_capture": 2, "bank_wrong_amount": 1, "shop_refunds": 1},
        Breadth(
            webhook_schedule_s="0,5",
            acts={"endpoint_disabled": 3, "secret_rotated_at_once": 3, "redrive_of_webhooks": 8},
        ),
    ),
}
# The same once more: which seeds are about people and what is kept of them is drawn apart from both.
CUSTOMERS: Final = "customers"
BROADEST: Final[Mapping[str, tuple[Mapping[str, int], Breadth]]] = {
    CUSTOMERS: (
        {"saves_card": 5, "comes_again": 3, "pays": 2, "challenge_met": 2, "double_click": 1, "abandons": 1},
        Breadth(acts={"endpoint_disabled": 1, "redrive_of_webhooks": 1}, people=True),
    ),
}
NAMES: Final = (*SCENARIOS, *BROADER, *BROADEST)
BROADER_SHARE: Final = 0.5
BROADEST_SHARE: Final = 0.2
NARROW: Final = Breadth(acts={})
EVERYTHING: Final = Breadth(
    listens=True,
    stock=True,
    people=True,
    acts={act: 1 for _, breadth in BROADER.values() for act in breadth.acts},
)


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
    breadth: Breadth = NARROW


def scenario_of(seed: int, *, name: str | None = None, long: bool = False) -> Scenario:
    """The scenario of a seed: the one that is named, or one that the seed chooses."""
    chance, apart = random.Random(f"{seed}:scenario"), random.Random(f"{seed}:broader")
    aside = random.Random(f"{seed}:customers")
    drawn = chance.choice(sorted(SCENARIOS))
    if apart.random() < BROADER_SHARE:
        drawn = apart.choice(sorted(BROADER))
    if aside.random() < BROADEST_SHARE:
        drawn = aside.choice(sorted(BROADEST))
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
            shoppers=MIXED if name is None else _of(name)[0],
            breadth=EVERYTHING if name is None else _of(name)[1],
        )
    name = name or drawn
    shoppers, breadth = _of(name)
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
        shoppers=shoppers,
        breadth=breadth,
    )


def _of(name: str) -> tuple[Mapping[str, int], Breadth]:
    return BROADER.get(name) or BROADEST.get(name) or (SCENARIOS[name], NARROW)
