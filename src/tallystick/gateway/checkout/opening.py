"""A checkout session and its payment intent as they begin. Pure but for the ids."""

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from tallystick.gateway.accounts.origins import check_return_url
from tallystick.gateway.checkout.parameters import CreateSession
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.opening import new_intent
from tallystick.gateway.payments.payment import Payment
from tallystick.gateway.stripe_wire import currencies, errors
from tallystick.gateway.stripe_wire.call import Caller
from tallystick.gateway.stripe_wire.parameters import merged_metadata
from tallystick.kernel.identifiers import new_secret, owned_id, owner_of
from tallystick.ports.entropy import Entropy

TTL_MIN_S = 30 * 60  # Stripe's limits of `expires_at`
TTL_MAX_S = 24 * 3600
ON_THE_WAY_S = 10  # a caller's whole seconds and the request's travel; who asks for 30 minutes exactly gets them


def session_key(session_id: str) -> tuple[str, bool] | None:
    """Account and mode that the id of a session carries, or None when it can be no such id (DESIGN §2.6)."""
    for prefix, livemode in (("cs_test_", False), ("cs_live_", True)):
        if session_id.startswith(prefix):
            owner = owner_of(session_id, "acct")
            return (owner, livemode) if owner is not None else None
    return None


def opened_session(
    caller: Caller, sent: CreateSession, at: datetime, entropy: Entropy, *, ttl_min_s: int = TTL_MIN_S
) -> Payment:
    """The payment that `checkout.sessions.create` asks for. Raises InvalidRequest."""
    amount, named = sent.total()
    currency = currencies.checked(amount, named, param="line_items" if sent.line_items else "amount_total")
    for param in ("success_url", "cancel_url", "return_url"):
        check_return_url(param, getattr(sent, param), caller.origins, caller.livemode)
    intent_data = sent.payment_intent_data
    intent = new_intent(
        caller,
        amount=amount,
        currency=currency,
        capture_method=intent_data.capture_method,
        description=intent_data.description,
        metadata=intent_data.metadata,
        at=at,
        entropy=entropy,
        customer=sent.customer,
        setup_future_usage=intent_data.setup_future_usage,
    )
    id = owned_id("cs_live" if caller.livemode else "cs_test", caller.account_id, at, entropy)
    session = CheckoutSession(
        account_id=caller.account_id,
        livemode=caller.livemode,
        id=id,
        version=0,
        status="open",
        payment_status="unpaid",
        amount_total=amount,
        currency=currency,
        line_items=_positions(sent),
        ui_mode=sent.page,
        expires_at=_expires_at(sent.expires_at, at, ttl_min_s),
        created_at=at,
        payment_intent=intent.id,
        success_url=sent.success_url,
        cancel_url=sent.cancel_url,
        return_url=sent.return_url,
        client_reference_id=sent.client_reference_id,
        client_secret=new_secret(f"{id}_secret", entropy) if sent.page == "embedded_page" else None,
        metadata=_json(merged_metadata({}, sent.metadata)),
        payment_intent_data=_json(intent_data),
        customer=sent.customer,
        saves_card=sent.saves_card,
    )
    return Payment(intent=replace(intent, checkout_session=id), session=session)


def _positions(sent: CreateSession) -> str:
    return _json(
        [
            {
                "name": item.price_data.product_data.name,
                "amount": item.price_data.unit_amount,
                "quantity": item.quantity,
            }
            for item in sent.line_items or ()
        ]
    )


def _expires_at(sent: int | None, at: datetime, ttl_min_s: int) -> datetime:
    if sent is None:
        return at + timedelta(seconds=TTL_MAX_S)
    expires_at = datetime.fromtimestamp(sent, UTC)
    ahead_s = (expires_at - at).total_seconds()
    if ahead_s < ttl_min_s - ON_THE_WAY_S or ahead_s <= 0:
        raise errors.OutOfTime(
            f"The `expires_at` timestamp must be at least {ttl_min_s} seconds from Checkout Session creation.",
            param="expires_at",
        )
    if ahead_s > TTL_MAX_S + ON_THE_WAY_S:
        raise errors.OutOfTime(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.", param="expires_at"
        )
    return expires_at


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
