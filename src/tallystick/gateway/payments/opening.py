"""What a payment begins with: the intent, and the card that a call names."""

from datetime import datetime

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tallystick.gateway.acquirers.port import Acquirer
from tallystick.gateway.cards.commands import method_of_token
from tallystick.gateway.payments.payment import Payment, PaymentIntent, PaymentMethod
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Caller
from tallystick.gateway.stripe_wire.parameters import MetadataChange, merged_metadata
from tallystick.kernel.identifiers import new_id, new_secret
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import stored

USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, or was detached "
    "from a Customer. It may not be used again. To use a PaymentMethod multiple times, you must attach it to a "
    "Customer first."
)
_BELONGS = (
    "The provided PaymentMethod belongs to a Customer. Please include the Customer in the `customer` parameter on the "
    "PaymentIntent."
)


class NamedCard(Struct, frozen=True):
    """A card that a parameter names: just made of a token, or stored."""

    id: str
    made: PaymentMethod | None

    @property
    def stored(self) -> tuple[str, ...]:
        """What has to be loaded."""
        return () if self.made is not None else (self.id,)

    def of(self, payment: Payment) -> PaymentMethod:
        """The record. Raises InvalidRequest when the account has no such card."""
        method = self.made or payment.method(self.id)
        if method is None:
            raise errors.no_such_reference("PaymentMethod", self.id, param="payment_method")
        check_usable(method, payment.intent)
        return method


def check_usable(method: PaymentMethod, intent: PaymentIntent) -> None:
    """Raise InvalidRequest for a card that this payment may not be made with: another customer's, or one whose number
    is kept for no further payment."""
    if method.attached_at is not None:
        if intent.customer is None:
            raise errors.invalid("payment_method", _BELONGS)
        if intent.customer != method.customer:
            raise errors.no_such_reference("PaymentMethod", method.id, param="payment_method")
    elif (method.single_use or method.vault_token is not None) and intent.payment_method != method.id:
        raise errors.invalid("payment_method", USED_UP)


class NamedCards:
    """Finds what `payment_method` names: a test token makes a new payment method, as Stripe does."""

    def __init__(self, acquirer: Acquirer, entropy: Entropy) -> None:
        self._acquirer = acquirer
        self._entropy = entropy

    def named(self, caller: Caller, text: str | None, at: datetime) -> NamedCard | None:
        if text is None:
            return None
        made = method_of_token(self._acquirer, caller, text, at=at, entropy=self._entropy)
        return NamedCard(made.id if made is not None else text, made)


def new_intent(
    caller: Caller,
    *,
    amount: int,
    currency: str,
    capture_method: str,
    description: str | None,
    metadata: MetadataChange,
    at: datetime,
    entropy: Entropy,
    customer: str | None = None,
    setup_future_usage: str | None = None,
) -> PaymentIntent:
    """A payment intent as it begins. `automatic_async` means automatic."""
    id = new_id("pi", at, entropy)
    return PaymentIntent(
        account_id=caller.account_id,
        livemode=caller.livemode,
        id=id,
        version=0,
        status="requires_payment_method",
        amount=amount,
        currency=currency,
        capture_method="manual" if capture_method == "manual" else "automatic",
        client_secret=new_secret(f"{id}_secret", entropy),
        description=description,
        metadata=msgspec.json.encode(merged_metadata({}, metadata)).decode(),
        created_at=at,
        customer=customer,
        setup_future_usage=setup_future_usage,
        trace=stored(),
    )


def metadata_text(present: str, change: MetadataChange | UnsetType) -> str | UnsetType:
    """Metadata after a change, as JSON text; UNSET where nothing changes."""
    if isinstance(change, UnsetType):
        return UNSET
    return msgspec.json.encode(merged_metadata(msgspec.json.decode(present), change)).decode()
