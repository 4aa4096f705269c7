"""The headers of the payment page (RULES §9)."""

import pytest

from tallystick.kernel.page_headers import framing_origins, page_headers


def directives(headers: dict[str, str]) -> dict[str, str]:
    return dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))


def test_the_policy_allows_our_own_script_and_style_and_nothing_else() -> None:
    assert directives(page_headers("bm9uY2U=", ancestors=(), https=True)) == {
        "default-src": "'none'",
        "script-src": "'nonce-bm9uY2U='",
        "style-src": "'nonce-bm9uY2U='",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_only_registered_origins_may_frame_an_embedded_page() -> None:
    shops = ["https://shop.example", "http://127.0.0.2:8000"]
    policy = directives(page_headers("n", ancestors=shops, https=True))
    assert policy["frame-ancestors"] == "https://shop.example http://127.0.0.2:8000"


@pytest.mark.parametrize(
    "origin",
    ["*", "'self'", "https://*.example", "https://a.example; script-src *", "https://a.example\r\nX: y", "data:", ""],
)
def test_nothing_but_a_plain_origin_reaches_the_policy(origin: str) -> None:
    assert framing_origins([origin]) == []
    assert directives(page_headers("n", ancestors=[origin], https=True))["frame-ancestors"] == "'none'"


def test_nothing_is_kept_or_told_and_nothing_else_is_allowed() -> None:
    headers = page_headers("n", ancestors=(), https=True)
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert all(item.endswith("=()") for item in headers["Permissions-Policy"].split(", "))


def test_a_browser_is_told_to_insist_on_https_only_where_it_is_served() -> None:
    assert "Strict-Transport-Security" not in page_headers("n", ancestors=(), https=False)
