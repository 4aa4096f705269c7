"""A card that the shopper typed: accepted, kept only where it has to be used once more, and known as a payment method.

A number that is charged at once lives in the memory of its request and nowhere else. It goes to the vault where the
shopper has to go to the bank first (3DS), because the charge is then another request, and where the shopper wants it
saved.
"""

import logging
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.acquirers.port import Acquirer, CardRefused
from tallystick.gateway.cards.commands import method_of
from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.payments.payment import PaymentIntent, PaymentMethod
from tallystick.gateway.vault.vault import Typed, Vault
from tallystick.ports.database import DatabaseError
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryptionError

log = logging.getLogger(__name__)

RETENTION_S = 900


class TryLater(Struct, frozen=True):
    """The card cannot be kept for the way over its bank just now; nothing was charged."""


class TypedCards:
    """Makes payment methods of cards as they are typed."""

    def __init__(
        self, acquirer: Acquirer, vault: Vault | None, entropy: Entropy, *, retention_s: int = RETENTION_S
    ) -> None:
        self._acquirer = acquirer
        self._vault = vault
        self._entropy = entropy
        self._retention = timedelta(seconds=retention_s)

    @property
    def can_save(self) -> bool:
        """Whether cards can be saved here at all."""
        return self._vault is not None

    async def method(
        self, card: CardEntry, intent: PaymentIntent, at: datetime, *, save: bool = False
    ) -> PaymentMethod | CardRefused | TryLater:
        """The payment method of this card for this payment, not stored yet; its number is kept where it has to be.

        `save`: the shopper wants to come back with it. Where the vault does not answer, the payment is worth more than
        that: it goes on, and the card is not saved."""
        (accepted,) = await self._acquirer.accept([card], at)
        if isinstance(accepted, CardRefused):
            return accepted
        method = method_of(accepted, intent.account_id, intent.livemode, at=at, entropy=self._entropy)
        if self._vault is None:
            return method  # the acquirer knows the card by its reference
        save = save and intent.customer is not None
        if not (save or method.authentication_required):
            return replace(method, single_use=True)
        typed = Typed(intent.account_id, intent.livemode, card.number, intent.id, at, at + self._retention)
        try:
            token = await self._vault.keep_one(typed)
        except (KeyEncryptionError, DatabaseError) as error:
            log.error("the vault keeps no card just now: %s", type(error).__name__)
            return TryLater() if method.authentication_required else replace(method, single_use=True)
        return replace(method, vault_token=token, customer=intent.customer if save else None)
