"""RULES §6 and §7: what we sign others accept, what others sign we accept, and hostile input gives one error."""

import base64
import hmac
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
import stripe
import svix

from tallystick.kernel.signatures import (
    TOLERANCE_S,
    SignatureRefused,
    sign_standard,
    sign_stripe,
    standard_key,
    stripe_key,
    verify_standard,
    verify_stripe,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIMESTAMP = 1614265330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

Headers = list[tuple[bytes, bytes]]


def at(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


NOW = at(VECTOR_TIMESTAMP)
BODY = '{"id": "evt_1", "name": "Zoë — 貝"}'.encode()


def stripe_headers(value: str | bytes) -> Headers:
    return [(b"stripe-signature", value.encode() if isinstance(value, str) else value)]


def standard_headers(id: str, timestamp: int | str, signature: str) -> Headers:
    return [
        (b"webhook-id", id.encode()),
        (b"webhook-timestamp", str(timestamp).encode()),
        (b"webhook-signature", signature.encode()),
    ]


def refused(verify: Callable[[], object]) -> str:
    with pytest.raises(SignatureRefused) as refusal:
        verify()
    return refusal.value.reason


# --- the vector, and other people's libraries in both directions (RULES §6) ---


def test_the_published_vector() -> None:
    assert sign_standard([SECRET], VECTOR_ID, VECTOR_TIMESTAMP, VECTOR_BODY) == VECTOR_SIGNATURE
    headers = standard_headers(VECTOR_ID, VECTOR_TIMESTAMP, VECTOR_SIGNATURE)
    assert verify_standard([SECRET], headers, VECTOR_BODY, NOW) == VECTOR_ID


def test_stripes_library_and_ours_accept_each_other() -> None:
    timestamp = int(datetime.now(UTC).timestamp())
    ours = sign_stripe([SECRET], timestamp, BODY)
    assert stripe.WebhookSignature.verify_header(BODY.decode(), ours, SECRET, tolerance=TOLERANCE_S)
    theirs = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, timestamp)
    assert verify_stripe([SECRET], stripe_headers(theirs), BODY, at(timestamp)) == timestamp


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_the_standard_libraries_and_ours_accept_each_other(
    library: type[standardwebhooks.Webhook] | type[svix.Webhook], secret: str
) -> None:
    moment = datetime.now(UTC)
    timestamp = int(moment.timestamp())
    ours = sign_standard([secret], "evt_1", timestamp, BODY)
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(timestamp), "webhook-signature": ours}
    library(secret).verify(BODY, headers)
    theirs = library(secret).sign("evt_1", moment, BODY.decode())
    assert verify_standard([secret], standard_headers("evt_1", timestamp, theirs), BODY, moment) == "evt_1"


def test_during_a_rotation_both_secrets_sign_and_either_verifies() -> None:
    both = [OTHER_SECRET, SECRET]
    for_stripe = stripe_headers(sign_stripe(both, VECTOR_TIMESTAMP, BODY))
    for_standard = standard_headers("evt_1", VECTOR_TIMESTAMP, sign_standard(both, "evt_1", VECTOR_TIMESTAMP, BODY))
    assert for_stripe[0][1].count(b"v1=") == 2
    for receiver in ([SECRET], [OTHER_SECRET], both):
        assert verify_stripe(receiver, for_stripe, BODY, NOW) == VECTOR_TIMESTAMP
        assert verify_standard(receiver, for_standard, BODY, NOW) == "evt_1"
    only_new = stripe_headers(sign_stripe([SECRET], VECTOR_TIMESTAMP, BODY))
    assert verify_stripe(both, only_new, BODY, NOW) == VECTOR_TIMESTAMP


# --- what is refused, and under which name (RULES §7) ---

GOOD_STRIPE = sign_stripe([SECRET], VECTOR_TIMESTAMP, BODY)
GOOD_STANDARD = sign_standard([SECRET], "evt_1", VECTOR_TIMESTAMP, BODY)


def test_another_body_secret_or_timestamp_is_a_bad_signature() -> None:
    good = stripe_headers(GOOD_STRIPE)
    assert refused(lambda: verify_stripe([SECRET], good, BODY + b" ", NOW)) == "bad_signature"
    assert refused(lambda: verify_stripe([OTHER_SECRET], good, BODY, NOW)) == "bad_signature"
    later = stripe_headers(GOOD_STRIPE.replace(str(VECTOR_TIMESTAMP), str(VECTOR_TIMESTAMP + 1)))
    assert refused(lambda: verify_stripe([SECRET], later, BODY, NOW)) == "bad_signature"

    good = standard_headers("evt_1", VECTOR_TIMESTAMP, GOOD_STANDARD)
    assert refused(lambda: verify_standard([SECRET], good, BODY + b" ", NOW)) == "bad_signature"
    assert refused(lambda: verify_standard([OTHER_SECRET], good, BODY, NOW)) == "bad_signature"
    another = standard_headers("evt_2", VECTOR_TIMESTAMP, GOOD_STANDARD)
    assert refused(lambda: verify_standard([SECRET], another, BODY, NOW)) == "bad_signature"


@pytest.mark.parametrize("direction", [1, -1])
def test_the_tolerance_holds_both_ways(direction: int) -> None:
    stripe_good = stripe_headers(GOOD_STRIPE)
    standard_good = standard_headers("evt_1", VECTOR_TIMESTAMP, GOOD_STANDARD)
    edge = NOW + direction * timedelta(seconds=TOLERANCE_S)
    beyond = edge + direction * timedelta(seconds=1)
    assert verify_stripe([SECRET], stripe_good, BODY, edge)
    assert verify_standard([SECRET], standard_good, BODY, edge)
    assert refused(lambda: verify_stripe([SECRET], stripe_good, BODY, beyond)) == "too_old"
    assert refused(lambda: verify_standard([SECRET], standard_good, BODY, beyond)) == "too_old"


def test_unknown_versions_and_malformed_items_are_skipped() -> None:
    signature = GOOD_STRIPE.partition("v1=")[2]
    noisy = f"v0=abc,,=,t,v1,v1=,v1=zz\u00e9,x=y=z,t={VECTOR_TIMESTAMP},v2={'0' * 64},v1={'0' * 64},v1={signature},junk"
    assert verify_stripe([SECRET], stripe_headers(noisy), BODY, NOW)
    only_unknown = stripe_headers(GOOD_STRIPE.replace("v1=", "v2="))
    assert refused(lambda: verify_stripe([SECRET], only_unknown, BODY, NOW)) == "bad_signature"

    noisy = f"v1a,abc v1 , v1, v1,\u00e9 v2,{'A' * 43}= {GOOD_STANDARD}  nonsense"
    assert verify_standard([SECRET], standard_headers("evt_1", VECTOR_TIMESTAMP, noisy), BODY, NOW)
    only_unknown = standard_headers("evt_1", VECTOR_TIMESTAMP, GOOD_STANDARD.replace("v1,", "v1a,"))
    assert refused(lambda: verify_standard([SECRET], only_unknown, BODY, NOW)) == "bad_signature"


@pytest.mark.parametrize(
    "timestamp",
    ["", "-1", "+1", "1614265330.0", "1614265330.5", "1e9", "1_614_265_330", " 1614265330", "١٦١٤", "9" * 5000, "nan"],
)
def test_a_timestamp_that_is_no_integer_is_malformed_even_when_signed(timestamp: str) -> None:
    digest = hmac.digest(SECRET.encode(), timestamp.encode() + b"." + BODY, "sha256").hex()
    assert (
        refused(lambda: verify_stripe([SECRET], stripe_headers(f"t={timestamp},v1={digest}"), BODY, NOW)) == "malformed"
    )
    signed = f"evt_1.{timestamp}.".encode() + BODY
    signature = "v1," + base64.b64encode(hmac.digest(standard_key(SECRET), signed, "sha256")).decode()
    headers = standard_headers("evt_1", timestamp, signature)
    assert refused(lambda: verify_standard([SECRET], headers, BODY, NOW)) == "malformed"


def test_missing_and_duplicate_headers_are_malformed() -> None:
    good = stripe_headers(GOOD_STRIPE)
    assert refused(lambda: verify_stripe([SECRET], [], BODY, NOW)) == "malformed"
    assert refused(lambda: verify_stripe([SECRET], good + good, BODY, NOW)) == "malformed"
    two_times = stripe_headers(f"t={VECTOR_TIMESTAMP},{GOOD_STRIPE}")
    assert refused(lambda: verify_stripe([SECRET], two_times, BODY, NOW)) == "malformed"

    good = standard_headers("evt_1", VECTOR_TIMESTAMP, GOOD_STANDARD)
    for one in good:
        without = [header for header in good if header != one]
        in_capitals = (one[0].upper(), one[1])
        assert refused(lambda without=without: verify_standard([SECRET], without, BODY, NOW)) == "malformed"  # type: ignore[misc]
        assert refused(lambda twice=[*good, in_capitals]: verify_standard([SECRET], twice, BODY, NOW)) == "malformed"  # type: ignore[misc]


def test_a_full_stop_cannot_be_moved_between_id_and_timestamp() -> None:
    """`a.1` + `2` and `a` + `1` sign the same bytes when the body helps: an id with a full stop is refused."""
    body = b"1614265330.rest"
    signature = sign_standard([SECRET], "evt", VECTOR_TIMESTAMP, body)
    shifted = standard_headers(f"evt.{VECTOR_TIMESTAMP}", VECTOR_TIMESTAMP, signature)
    assert refused(lambda: verify_standard([SECRET], shifted, b"rest", NOW)) == "malformed"


@pytest.mark.parametrize("id", ["", "a b", "é", "a\x00b", "x" * 256])
def test_an_id_that_we_could_not_store_is_malformed(id: str) -> None:
    assert (
        refused(lambda: verify_standard([SECRET], standard_headers(id, VECTOR_TIMESTAMP, ""), BODY, NOW)) == "malformed"
    )


@pytest.mark.parametrize("secret", ["", " ", "\t\n", "whsec_"])
def test_an_empty_secret_is_refused_in_every_function(secret: str) -> None:
    for use in (
        lambda: stripe_key(secret),
        lambda: standard_key(secret),
        lambda: sign_stripe([secret], VECTOR_TIMESTAMP, BODY),
        lambda: sign_standard([secret], "evt_1", VECTOR_TIMESTAMP, BODY),
        lambda: verify_stripe([SECRET, secret], stripe_headers(GOOD_STRIPE), BODY, NOW),
        lambda: verify_stripe([], stripe_headers(GOOD_STRIPE), BODY, NOW),
        lambda: sign_standard([], "evt_1", VECTOR_TIMESTAMP, BODY),
    ):
        with pytest.raises(ValueError, match="secret"):
            use()


@pytest.mark.parametrize("secret", ["whsec_" + base64.b64encode(bytes(n)).decode() for n in (1, 23, 65)] + ["whsec_é!"])
def test_a_standard_secret_has_24_to_64_bytes_and_its_error_does_not_show_it(secret: str) -> None:
    with pytest.raises(ValueError) as error:
        standard_key(secret)
    assert secret not in str(error.value)
    assert error.value.__cause__ is None


def test_a_standard_secret_may_lack_its_padding() -> None:
    assert standard_key(OTHER_SECRET.rstrip("=")) == standard_key(OTHER_SECRET) == bytes(range(32))


# --- ten thousand hostile variants (RULES §7) ---

JUNK = [
    b"", b" ", b",", b"=", b".", b"\x00", b"\xff\xfe", "é".encode(), "١٢٣".encode(), b"v1", b"v1=", b"v1,", b"v0=",
    b"t=", b"t=1.5", b"t=-1", b"t=1e308", b"9" * 400, b"t=" + b"9" * 400, b"AAAA", b"====", b"v1,====", b"v1,!!!!",
    b"v1=" + b"0" * 64, b"v1,v1,v1", b"nan", b"inf", b"None", b"%00", b"\r\n", b"{}", b"[]", b"\xf0\x9f\x92\xb8",
    b"v1=" + "é".encode() * 32, b"whsec_",
]  # fmt: skip


def hostile(rng: random.Random, value: bytes) -> bytes:
    """`value` cut, flipped, repeated, mixed with junk or replaced by it; now and then a good one is left as it was."""
    for _ in range(rng.randint(0, 4)):
        place = rng.randint(0, len(value))
        match rng.randrange(7):
            case 0:
                value = value[:place]
            case 1:
                value = value[:place] + rng.choice(JUNK) + value[place:]
            case 2:
                value = value[:place] + rng.randbytes(rng.randint(1, 8)) + value[place:]
            case 3:
                value = value[:place] + bytes([rng.randrange(256)]) + value[place + 1 :]
            case 4:
                value = rng.choice([b",", b" ", b""]).join([value] * rng.randint(2, 30))
            case 5:
                value = rng.choice(JUNK)
            case _:
                value = value[place:] + value[:place]
        value = value[:20_000]
    return value


def test_10000_hostile_variants_give_nothing_but_the_one_error() -> None:
    rng = random.Random(20260807)
    reasons: dict[str, int] = {}
    accepted = 0
    for _ in range(10_000):
        headers = stripe_headers(GOOD_STRIPE) + standard_headers("evt_1", VECTOR_TIMESTAMP, GOOD_STANDARD)
        headers = [(name, hostile(rng, value)) for name, value in headers]
        if rng.random() < 0.1:
            headers.append(rng.choice(headers))
        if rng.random() < 0.1:
            headers.remove(rng.choice(headers))
        body = hostile(rng, BODY) if rng.random() < 0.5 else BODY
        for verify in (verify_stripe, verify_standard):
            try:
                verify([OTHER_SECRET, SECRET], headers, body, NOW + timedelta(seconds=rng.choice([0, 0, 299, 301])))
            except SignatureRefused as refusal:
                reasons[refusal.reason] = reasons.get(refusal.reason, 0) + 1
            else:
                accepted += 1
                assert body == BODY, "nothing but the signed bytes may pass"
    assert set(reasons) == {"bad_signature", "too_old", "malformed"}
    assert accepted > 100, "the variants must reach the far end of the verifier too"
