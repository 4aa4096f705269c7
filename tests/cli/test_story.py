"""Two halves become one story, in one order, that fits a terminal."""

from typing import Any

import pytest

from tallystick.cli.command import run
from tallystick.cli.story import Part, Story, lines


def entry(half: str, second: int, kind: str = "x", **more: Any) -> dict[str, Any]:
    return {
        "half": half,
        "at": f"2026-11-28T12:00:{second:02}Z",
        "place": f"40:{kind}",
        "kind": kind,
        "tone": "plain",
        "words": f"{half} says {kind}",
        "by": "somebody",
        "now": None,
        "subject": "dlv_1",
        "reference": None,
        "took_ms": None,
        "more": 0,
    } | more


def part(half: str, *entries: dict[str, Any], whole: bool = True) -> Part:
    about = {"half": half, "id": f"{half}_1", "owner": "o", "state": "PAID", "amount": "€1.00", "ids": [f"{half}_1"]}
    return Part({**about, "due": []}, entries, whole)


def shown(story: Story, **options: Any) -> list[str]:
    return [line for line, _ in lines(story, **options)]


def test_entries_of_both_halves_are_in_the_order_of_their_times() -> None:
    merchant = part("merchant", entry("merchant", 1), entry("merchant", 3), entry("merchant", 5))
    gateway = part("gateway", entry("gateway", 2), entry("gateway", 3), entry("gateway", 4))
    for parts in ((merchant, gateway), (gateway, merchant)):
        told = Story("ord_1", parts, {}).entries()
        assert [(each["at"][17:19], each["half"]) for each in told] == [
            ("01", "merchant"),
            ("02", "gateway"),
            ("03", "merchant"),
            ("03", "gateway"),
            ("04", "gateway"),
            ("05", "merchant"),
        ]


def test_a_delivery_of_which_a_try_is_told_is_not_told_twice_unless_asked() -> None:
    tried = (entry("gateway", 1, "delivery.made"), entry("gateway", 2, "try.delivered"))
    waiting = entry("gateway", 3, "delivery.made", subject="dlv_2")
    story = Story("pi_1", (part("gateway", *tried, waiting),), {})
    assert sum("says delivery.made" in line for line in shown(story)) == 1
    assert sum("says delivery.made" in line for line in shown(story, long=True)) == 2
    assert any("dlv_2" in line for line in shown(story, long=True))
    assert len(story.as_json()["entries"]) == 3


def test_what_is_missing_and_what_is_next_is_said() -> None:
    due = {
        "half": "gateway",
        "at": "2026-11-29T00:00:00Z",
        "kind": "due.try",
        "words": "It is sent",
        "subject": "dlv_1",
    }
    told = part("gateway", entry("gateway", 1), whole=False)
    told.timeline["due"].append(due)
    story = Story("pi_1", (told,), {"merchant": "the merchant service at http://127.0.0.1:1 does not answer"})
    text = "\n".join(shown(story))
    assert "The merchant's half is missing: the merchant service" in text
    assert "What is next\n" in text
    assert "It is sent (dlv_1)" in text
    assert "There is more than is shown here" in text
    assert story.as_json()["missing"].keys() == {"merchant"}
    assert not story.as_json()["whole"]


def test_lines_fit_a_terminal_and_ids_stay_whole() -> None:
    key = "close:ord_5JwZ43vvMYR0RUfk00VcJAaSXEvqP55iDGiV518G1:1:1"
    told = entry("gateway", 1, words=f"A call with the key {key} was answered " + "word " * 40, reference=key)
    found = shown(Story("pi_1", (part("gateway", told),), {}), long=True)
    assert max(map(len, found)) <= 80
    assert any(key in line for line in found)


def test_who_says_nothing_of_an_installation_is_told_what_to_set(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("GATEWAY", "MERCHANT"):
        monkeypatch.delenv(f"TALLYSTICK_{service}_URL", raising=False)
    assert run(["explain", "pi_1"]) == 2
    said = capfd.readouterr().err
    assert "TALLYSTICK_GATEWAY_URL" in said
    assert "TALLYSTICK_MERCHANT_URL" in said
    assert "--data-dir" in said


def test_where_nobody_answers_both_halves_are_named(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("GATEWAY", "MERCHANT"):
        monkeypatch.setenv(f"TALLYSTICK_{service}_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(f"TALLYSTICK_{service}_OPERATOR_KEY", "opk_of_no_value")
    assert run(["explain", "pi_1"]) == 1
    said = capfd.readouterr().err
    assert "neither half can be read" in said
    assert "the gateway at http://127.0.0.1:9 does not answer" in said
    assert "the merchant service at http://127.0.0.1:9 does not answer" in said
