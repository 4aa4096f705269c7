"""The parameters of disputes, as Stripe names them."""

from typing import Final

from msgspec import UNSET, UnsetType

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.balance_objects import EVIDENCE
from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    MetadataChange,
    Parameters,
    check_metadata,
    check_storable,
    check_text,
)

EVIDENCE_CHARACTERS_MAX: Final = 20_000  # of one text, as Stripe's
ALL_EVIDENCE_CHARACTERS_MAX: Final = 150_000


class UpdateDispute(Parameters, frozen=True, kw_only=True):
    """`POST /v1/disputes/{id}`. Evidence is sent to the bank at once, unless `submit` says false."""

    evidence: dict[str, str] | None = None
    metadata: MetadataChange | UnsetType = UNSET
    submit: bool | None = None

    def __post_init__(self) -> None:
        check_metadata("metadata", self.metadata)
        for name, text in (self.evidence or {}).items():
            if name not in EVIDENCE:
                raise errors.unknown(f"evidence[{errors.shown(name)}]")
            check_storable(f"evidence[{name}]", text, EVIDENCE_CHARACTERS_MAX)
        if sum(len(text) for text in (self.evidence or {}).values()) > ALL_EVIDENCE_CHARACTERS_MAX:
            raise errors.invalid("evidence", f"Evidence has at most {ALL_EVIDENCE_CHARACTERS_MAX} characters in all.")

    @property
    def submits(self) -> bool:
        """Whether what is there goes to the bank."""
        return self.submit if self.submit is not None else bool(self.evidence)


class CloseDispute(Parameters, frozen=True, kw_only=True):
    """`POST /v1/disputes/{id}/close`."""


class ListDisputes(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/disputes`."""

    charge: str | None = None
    payment_intent: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_text("charge", self.charge, ID_CHARACTERS_MAX)
        check_text("payment_intent", self.payment_intent, ID_CHARACTERS_MAX)
