"""What the commands of the payment page answer with. Plain data."""

from msgspec import Struct

from tallystick.gateway.acquirers.port import AuthenticationState, CardRefused
from tallystick.gateway.cards.typed import TryLater
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.payment import PaymentIntent


class SavedCard(Struct, frozen=True, kw_only=True):
    """What the page shows of a card that the shopper has saved."""

    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


class SessionPage(Struct, frozen=True):
    """A session with all that its page shows. `origins` are those that the account has registered, `saved` the cards of
    its customer; `can_save`: another one could be saved."""

    session: CheckoutSession
    intent: PaymentIntent
    merchant: str
    origins: tuple[str, ...]
    saved: tuple[SavedCard, ...] = ()
    can_save: bool = False


class ChallengePage(Struct, frozen=True, kw_only=True):
    """What the simulated bank's page shows of a 3DS challenge, and where it sends the shopper back to."""

    state: AuthenticationState
    merchant: str
    amount: int
    currency: str
    brand: str
    last4: str
    return_url: str | None
    embedded: bool
    origins: tuple[str, ...]


class Paid(Struct, frozen=True):
    """The money is captured, or authorised where the merchant captures later."""


class Declined(Struct, frozen=True):
    """No money moved; another card may be tried. The words are those of `last_payment_error`."""

    code: str
    message: str


class Challenge(Struct, frozen=True):
    """The card's bank wants to see the shopper at `url`."""

    url: str


class Processing(Struct, frozen=True):
    """The bank has not answered yet."""


class NotOpen(Struct, frozen=True):
    """The session takes no card (any more)."""

    status: str


class TooMany(Struct, frozen=True):
    """Too many tries, of this card or from this address; nothing was sent to a bank (card testing)."""

    retry_after_s: int


PayResult = Paid | Declined | Challenge | CardRefused | Processing | NotOpen | TryLater | TooMany
