"""Money is given back, payments are given up and the bank is asked from a page: asked for twice, and done once."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tallystick.kernel.operators.roles import Role


def kept(answer: Any) -> dict[str, str]:
    """The hidden fields of the page that asks whether it is meant."""
    assert answer.status == 200, answer.status
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', answer.body.decode()))
    assert fields.pop("csrf")
    assert fields["confirmed"] == "yes"
    return fields


def refunds(office: Any, payment: str) -> list[int]:
    rows = office.rows("SELECT amount FROM refund WHERE payment_intent = %s ORDER BY id", payment)
    return [amount for (amount,) in rows]


def test_money_goes_back_once_however_often_the_button_is_pressed(office: Any) -> None:
    finance, payment = office.people[Role.FINANCE], office.pay()["id"]
    path = f"/console/payments/{payment}/refund"
    assert f'action="{path}"' in finance.page(f"/console/payments/{payment}")
    asked = finance.send(path, {"amount": "7,00"})
    assert "€7.00 go back to the shopper, of €25.00 that are left" in asked.body.decode()
    fields = kept(asked)
    assert refunds(office, payment) == [], "nothing was done yet"
    with ThreadPoolExecutor(4) as clicks:
        answers = list(clicks.map(lambda _: finance.send(path, fields), range(4)))
    assert {(each.status, each.headers["location"]) for each in answers} == {(303, f"/console/payments/{payment}")}
    assert finance.send(path, fields).status == 303
    assert refunds(office, payment) == [700]
    page = finance.page(f"/console/payments/{payment}")
    assert "€7.00" in page
    rest = kept(finance.send(path))
    assert rest["refundable"] == "1800"
    assert finance.send(path, rest).status == 303
    assert refunds(office, payment) == [700, 1800]
    assert f'action="{path}"' not in finance.page(f"/console/payments/{payment}"), "nothing is left"


def test_of_two_who_look_at_the_same_page_one_gives_back(office: Any) -> None:
    finance, admin, payment = office.people[Role.FINANCE], office.people[Role.ADMIN], office.pay()["id"]
    path = f"/console/payments/{payment}/refund"
    both = [(who, kept(who.send(path, {"amount": "5"}))) for who in (finance, admin)]
    with ThreadPoolExecutor(2) as people:
        answers = list(people.map(lambda one: one[0].send(path, one[1]), both))
    assert sorted(each.status for each in answers) == [303, 409]
    [refused] = [each for each in answers if each.status == 409]
    assert b"somebody was faster" in refused.body
    assert refunds(office, payment) == [500]


@pytest.mark.parametrize("amount", ["a lot", "0.001", "-1", "99.00"])
def test_an_amount_that_cannot_be_given_back(office: Any, amount: str) -> None:
    finance, payment = office.people[Role.FINANCE], office.pay()["id"]
    answer = finance.send(f"/console/payments/{payment}/refund", {"amount": amount})
    if answer.status == 200:  # readable: the command decides
        answer = finance.send(f"/console/payments/{payment}/refund", kept(answer))
        assert answer.status == 409
    else:
        assert (answer.status, b"12.50" in answer.body) == (422, True)
    assert refunds(office, payment) == []


def test_a_form_that_was_made_up_does_nothing(office: Any) -> None:
    """Without a key of ours the page asks; without what was seen it refuses."""
    finance, payment = office.people[Role.FINANCE], office.pay()["id"]
    path = f"/console/payments/{payment}/refund"
    fields = kept(finance.send(path))
    assert finance.send(path, {**fields, "key": "mine"}).status == 200
    assert finance.send(path, {**fields, "refundable": "all"}).status == 422
    assert finance.send(path, {**fields, "refundable": "2501"}).status == 409
    assert finance.send("/console/payments/pi_nothing/refund").status == 404
    assert refunds(office, payment) == []


def test_a_payment_is_given_up(office: Any) -> None:
    support, payment = office.people[Role.SUPPORT], office.pay(capture_method="manual")["id"]
    path = f"/console/payments/{payment}/cancel"
    page = support.page(f"/console/payments/{payment}")
    assert f'action="{path}"' in page
    assert "/refund" not in page, "not offered: neither is there money to give back, nor may support"
    asked = support.send(path)
    assert "€25.00 are released" in asked.body.decode()
    fields = kept(asked)
    for _ in range(2):
        assert support.send(path, fields).status == 303
    assert office.rows("SELECT status FROM payment_intent WHERE id = %s", payment) == [("canceled",)]
    assert support.send(path, kept(support.send(path))).status == 409
    assert f'action="{path}"' not in support.page(f"/console/payments/{payment}")


def test_the_bank_is_asked_now(office: Any) -> None:
    support = office.people[Role.SUPPORT]
    payment = office.pay("pm_card_timeoutApproved")["id"]
    path = f"/console/payments/{payment}"
    assert f'action="{path}/inquire"' in support.page(path)
    answer = support.send(f"{path}/inquire")
    assert (answer.status, answer.headers["location"]) == (303, f"{path}?asked=1")
    assert "The bank was asked, and has told." in support.page(f"{path}?asked=1")
    assert office.rows("SELECT status FROM payment_intent WHERE id = %s", payment) == [("succeeded",)]
    assert support.send(f"{path}/inquire").headers["location"] == f"{path}?asked=0"
    acts = office.rows("SELECT operator FROM audit_entry WHERE act = %s", "POST /console/payments/{payment_id}/inquire")
    assert ("support",) in acts
