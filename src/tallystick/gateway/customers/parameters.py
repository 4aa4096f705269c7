"""The parameters of customers and their cards, as Stripe names them. No address: nothing here needs one."""

from typing import Literal

from msgspec import UNSET, UnsetType, field

from tallystick.gateway.stripe_wire.parameters import (
    ID_CHARACTERS_MAX,
    CreatedPaging,
    Metadata,
    MetadataChange,
    Paging,
    Parameters,
    check_choice,
    check_metadata,
    check_storable,
    check_text,
)

EMAIL_CHARACTERS_MAX = 512
NAME_CHARACTERS_MAX = 256
PHONE_CHARACTERS_MAX = 20


class CreateCustomer(Parameters, frozen=True, kw_only=True):
    """`POST /v1/customers`."""

    email: str | None = None
    name: str | None = None
    phone: str | None = None
    description: str | None = None
    metadata: Metadata | Literal[""] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("email", self.email, EMAIL_CHARACTERS_MAX)
        check_text("name", self.name, NAME_CHARACTERS_MAX)
        check_text("phone", self.phone, PHONE_CHARACTERS_MAX)
        check_text("description", self.description)
        check_metadata("metadata", self.metadata)


class UpdateCustomer(Parameters, frozen=True, kw_only=True):
    """`POST /v1/customers/{id}`; an empty text unsets."""

    email: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    phone: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: MetadataChange | UnsetType = UNSET

    def __post_init__(self) -> None:
        for param, characters_max in (
            ("email", EMAIL_CHARACTERS_MAX),
            ("name", NAME_CHARACTERS_MAX),
            ("phone", PHONE_CHARACTERS_MAX),
        ):
            if given := getattr(self, param):
                check_text(param, given, characters_max)
        if isinstance(self.description, str):
            check_storable("description", self.description)
        check_metadata("metadata", self.metadata)


class ListCustomers(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/customers`."""

    email: str | None = None

    def __post_init__(self) -> None:
        CreatedPaging.__post_init__(self)
        check_text("email", self.email, EMAIL_CHARACTERS_MAX)


class ListMethods(Paging, frozen=True, kw_only=True):
    """`GET /v1/payment_methods`, of a customer."""

    customer: str
    type: str | None = None

    def __post_init__(self) -> None:
        Paging.__post_init__(self)
        check_text("customer", self.customer, ID_CHARACTERS_MAX)
        check_choice("type", self.type, ("card",))


class ListSaved(Paging, frozen=True, kw_only=True):
    """`GET /v1/customers/{id}/payment_methods`."""

    type: str | None = None

    def __post_init__(self) -> None:
        Paging.__post_init__(self)
        check_choice("type", self.type, ("card",))


class AttachMethod(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_methods/{id}/attach`."""

    customer: str

    def __post_init__(self) -> None:
        check_text("customer", self.customer, ID_CHARACTERS_MAX)


class DetachMethod(Parameters, frozen=True, kw_only=True):
    """`POST /v1/payment_methods/{id}/detach`."""
