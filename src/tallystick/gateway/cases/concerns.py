"""What a decision finds that a person must see, with words for each kind. Pure. RULES §3."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

CaseKind = Literal["over_refunded", "over_disputed", "return_bounced", "outcome_unknown"]

WORDS: Final[Mapping[CaseKind, str]] = MappingProxyType(
    {
        "over_refunded": "A refund that was taken for failed was done after all.",
        "over_disputed": "A charge was disputed for more than is left of it.",
        "return_bounced": "The money of a late approval that was given back has come back to us.",
        "outcome_unknown": "For a day the acquirer has not said what became of a request.",
    }
)


class Concern(Struct, frozen=True, kw_only=True):
    """A reason for a case about a charge. Found again with the same `subject`, it is the same case. Minor units."""

    account_id: str
    livemode: bool
    kind: CaseKind
    subject: str
    payment_intent: str
    charge: str
    amount: int
    currency: str
    details: Mapping[str, str] = {}
