"""Registered origins: where an account's return URLs may lead and its embedded pages may stand (RULES §9). Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from tallystick.gateway.errors import OriginInvalid
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.addresses import is_this_machine
from tallystick.kernel.origins import origin_of

ORIGINS_MAX = 50  # all of them stand in the header of every embedded page


def checked_origins(texts: Sequence[str]) -> list[str]:
    """Origins to register, in one form. Plain http only on loopback. Raises OriginInvalid."""
    if len(texts) > ORIGINS_MAX:
        raise OriginInvalid(f"an account can have at most {ORIGINS_MAX} origins")
    origins: list[str] = []
    for text in texts:
        origin = origin_of(text)
        if origin is None or urlsplit(text).path not in ("", "/") or urlsplit(text).query or urlsplit(text).fragment:
            raise OriginInvalid(f"{text[:200]!r} is not an origin such as https://shop.example")
        host = urlsplit(origin).hostname or ""
        # Browsers send names below localhost nowhere else.
        if origin.startswith("http://") and not (is_this_machine(host) or host.endswith(".localhost")):
            raise OriginInvalid(f"{text[:200]!r}: plain http is for loopback only")
        if origin not in origins:
            origins.append(origin)
    return origins


def may_return_to(origins: Sequence[str], livemode: bool, url: str) -> bool:
    """Whether a shopper may be sent to `url`. In test mode an account that has registered nothing yet may name any."""
    if not origins and not livemode:
        return origin_of(url) is not None
    return origin_of(url) in origins


def check_return_url(param: str, url: str | None, origins: Sequence[str], livemode: bool) -> None:
    """Raise InvalidRequest for an address that the account has not registered."""
    if url is None or may_return_to(origins, livemode, url):
        return
    origin = origin_of(url)
    if origin is None:
        raise errors.invalid(param, f"`{param}` is not an address such as https://shop.example/thanks.", "url_invalid")
    raise errors.invalid(
        param,
        f"{origin}, the origin of `{param}`, is not registered for this account. Whoever runs the gateway registers"
        " it with `tallystick gateway accounts origins`.",
        "url_invalid",
    )
