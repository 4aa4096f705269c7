"""The headers of every page of both services, and of what a page loads (RULES §9). Pure."""

import base64
import hashlib
import re
from collections.abc import Sequence

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; {fetches}"
    "form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
)
FETCHES = "connect-src 'self'; "
STRICT_TRANSPORT_SECURITY = "max-age=63072000"  # two years
PERMISSIONS_POLICY = (
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), "
    "midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=()"
)

_ORIGIN = re.compile(r"https?://[a-z0-9._\-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?")


def page_headers(nonce: str, *, ancestors: Sequence[str], https: bool, fetches: bool = False) -> dict[str, str]:
    """The headers of one page.

    nonce       fresh for every answer; the page's own script and style carry it
    ancestors   origins that may frame the page; none for every page but the embedded one
    https       whether shoppers reach the gateway over TLS; only then may a browser be told to insist on it
    fetches     whether a script of the page may ask where the page came from for more; no page for shoppers does
    """
    framing = " ".join(framing_origins(ancestors)) or "'none'"
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY.format(
            nonce=nonce, fetches=FETCHES if fetches else "", ancestors=framing
        ),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": PERMISSIONS_POLICY,
    }
    if https:
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    return headers


def document_headers(style: str) -> dict[str, str]:
    """The headers of a page without script, form and picture, whose style stands in it: only a style with exactly this
    text is taken. Browsers heed that they are to insist on HTTPS only where they came by it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'" if style else "default-src 'none'"
    return {
        "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": PERMISSIONS_POLICY,
        "Strict-Transport-Security": STRICT_TRANSPORT_SECURITY,
    }


def asset_headers(*, https: bool, shared: bool = False) -> dict[str, str]:
    """The headers of a style or script.

    Its address carries its hash, so it may be kept for ever. `shared` is the embed script: one address for all
    versions, and other origins load it.
    """
    headers = {
        "Cache-Control": "public, max-age=300" if shared else "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin" if shared else "same-origin",
    }
    if https:
        headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    return headers


def framing_origins(origins: Sequence[str]) -> list[str]:
    """Those of `origins` that are plain origins: nothing else may reach a header or a postMessage."""
    return [origin for origin in origins if _ORIGIN.fullmatch(origin)]
