"""Ends calls whose caller never came back: each goes on at its recovery point, with its stored request (RULES §5)."""

import asyncio
import logging
from collections.abc import Sequence

from tallystick.kernel.idempotency import Claim
from tallystick.kernel.idempotency.engine import LeaseLost
from tallystick.kernel.problems import Problem
from tallystick.merchant.checkout.commands import Checkout
from tallystick.merchant.refunds.commands import SEPARATOR, Refunds
from tallystick.ports.database import DatabaseError

log = logging.getLogger(__name__)


class Resuming:
    """What the completer calls. The answer is kept under the key, for a retry that comes after all."""

    def __init__(self, checkout: Checkout, refunds: Refunds) -> None:
        self._checkout = checkout
        self._refunds = refunds

    async def resume(self, claims: Sequence[Claim]) -> None:
        """End these calls side by side; one that cannot be ended now is left, and comes again."""
        await asyncio.gather(*map(self._resume, claims))

    async def _resume(self, claim: Claim) -> None:
        recovery = claim.recovery or ""
        try:
            await (self._refunds if SEPARATOR in recovery else self._checkout).resume(claim)
        except LeaseLost:
            return  # its caller came back
        except Problem as problem:
            log.warning("an abandoned call for %s waits: %s", recovery, problem.code)
        except DatabaseError as error:
            log.warning("an abandoned call for %s waits: %s", recovery, type(error).__name__)
        except Exception as error:  # a fault of ours, and not of the calls beside this one
            log.error("an abandoned call for %s could not be ended: %s", recovery, type(error).__name__, exc_info=error)
