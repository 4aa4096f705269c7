"""Sent fields become parameters; a fault becomes Stripe's error, which names the parameter in brackets (DESIGN §5)."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tallystick.gateway.cards.parameters import CreatePaymentMethod
from tallystick.gateway.checkout.parameters import CreateSession, ListSessions
from tallystick.gateway.payments.parameters import CaptureIntent, CreateIntent, ListIntents, UpdateIntent
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.binding import bind
from tallystick.gateway.stripe_wire.parameters import METADATA_KEYS_MAX, Parameters, merged_metadata
from tallystick.gateway.webhooks.parameters import CreateEndpoint, ListEvents, UpdateEndpoint

AN_INTENT = {"amount": "2000", "currency": "eur"}
A_SESSION: dict[str, Any] = {
    "mode": "payment",
    "success_url": "https://shop.example/thanks?s={CHECKOUT_SESSION_ID}",
    "line_items": {
        "0": {"price_data": {"currency": "eur", "unit_amount": "500", "product_data": {"name": "Tea"}}, "quantity": "2"}
    },
}


def refused(type: type[Parameters], fields: dict[str, Any]) -> errors.WireError:
    with pytest.raises(errors.WireError) as caught:
        bind(type, fields)
    return caught.value


def test_texts_of_a_form_become_what_the_parameter_is() -> None:
    intent = bind(
        CreateIntent, {**AN_INTENT, "confirm": "true", "metadata": {"order": "17"}, "expand": ["latest_charge"]}
    )
    assert (intent.amount, intent.confirm, intent.metadata, intent.expand) == (
        2000,
        True,
        {"order": "17"},
        ["latest_charge"],
    )


def test_json_types_are_taken_as_they_are() -> None:
    intent = bind(
        CreateIntent, {"amount": 2000, "currency": "eur", "confirm": False, "description": None, "metadata": {"n": 5}}
    )
    assert (intent.amount, intent.description, intent.metadata) == (2000, None, {"n": "5"})


def test_numbered_members_are_a_list_in_the_order_of_their_numbers() -> None:
    items = {str(number): A_SESSION["line_items"]["0"] | {"quantity": str(number + 1)} for number in (10, 2, 0)}
    session = bind(CreateSession, {**A_SESSION, "line_items": items})
    assert session.line_items is not None
    assert [item.quantity for item in session.line_items] == [1, 3, 11]
    assert session.total() == (15 * 500, "EUR")


@pytest.mark.parametrize(
    ("type", "fields", "code", "param"),
    [
        (CreateIntent, {"currency": "eur"}, "parameter_missing", "amount"),
        (CreateIntent, {"amount": "2000"}, "parameter_missing", "currency"),
        (CreateIntent, {**AN_INTENT, "colour": "red"}, "parameter_unknown", "colour"),
        (CreateIntent, {**AN_INTENT, "shipping": {"name": "x"}}, "parameter_unknown", "shipping"),
        (CreateIntent, {**AN_INTENT, "amount": ""}, "parameter_invalid_empty", "amount"),
        (CreateIntent, {**AN_INTENT, "currency": ""}, "parameter_invalid_empty", "currency"),
        (CreateIntent, {**AN_INTENT, "amount": "20.00"}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": 20.5}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": True}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": "٢٠٠٠"}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": "0"}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": "-5"}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": "1000000000000"}, "amount_too_large", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": "9" * 400}, "parameter_invalid_integer", "amount"),
        (CreateIntent, {**AN_INTENT, "amount": {"a": "1"}}, None, "amount"),
        (CreateIntent, {**AN_INTENT, "amount": ["1"]}, None, "amount"),
        (CreateIntent, {**AN_INTENT, "currency": "euro"}, None, "currency"),
        (CreateIntent, {**AN_INTENT, "currency": "xau"}, None, "currency"),
        (CreateIntent, {"amount": "2001", "currency": "isk"}, "parameter_invalid_integer", "amount"),
        (CreateSession, {"success_url": "https://a.example", "amount_total": "5"}, "parameter_missing", "currency"),
        (CreateIntent, {**AN_INTENT, "currency": "eür"}, None, "currency"),
        (CreateIntent, {**AN_INTENT, "confirm": "maybe"}, "parameter_invalid_boolean", "confirm"),
        (CreateIntent, {**AN_INTENT, "capture_method": "later"}, None, "capture_method"),
        (CreateIntent, {**AN_INTENT, "metadata": {"a" * 41: "x"}}, "metadata_key_invalid", "metadata"),
        (CreateIntent, {**AN_INTENT, "metadata": {"a": "x" * 501}}, "parameter_invalid_string_length", "metadata[a]"),
        (CreateIntent, {**AN_INTENT, "metadata": {"a": ["x"]}}, None, "metadata[a]"),
        (CreateIntent, {**AN_INTENT, "metadata": "x"}, None, "metadata"),
        (CreateIntent, {**AN_INTENT, "expand": "latest_charge"}, None, "expand"),
        (CreateIntent, {**AN_INTENT, "return_url": "https://a.example"}, None, "return_url"),
        (
            CreateIntent,
            {**AN_INTENT, "confirm": "true", "return_url": "javascript:alert(1)"},
            "url_invalid",
            "return_url",
        ),
        (CreateIntent, {**AN_INTENT, "payment_method_types": ["klarna"]}, None, "payment_method_types[0]"),
        (UpdateIntent, {"amount": "5"}, "parameter_unknown", "amount"),
        (UpdateIntent, {"payment_method": ""}, "parameter_invalid_empty", "payment_method"),
        (CaptureIntent, {"amount_to_capture": "0"}, "parameter_invalid_integer", "amount_to_capture"),
        (CreateSession, {**A_SESSION, "line_items": {}}, "parameter_missing", "line_items"),
        (CreateSession, {**A_SESSION, "line_items": {"x": {}}}, None, "line_items"),
        (CreateSession, {**A_SESSION, "line_items": {"0": {}}}, "parameter_missing", "line_items[0][price_data]"),
        (CreateSession, {**A_SESSION, "mode": "subscription"}, None, "mode"),
        (CreateSession, {**A_SESSION, "ui_mode": "custom"}, None, "ui_mode"),
        (CreateSession, {**A_SESSION, "ui_mode": "embedded"}, "parameter_missing", "return_url"),
        (CreateSession, {**A_SESSION, "return_url": "https://a.example"}, None, "return_url"),
        (CreateSession, {**A_SESSION, "amount_total": "5"}, "parameters_exclusive", "line_items"),
        (CreateSession, {**A_SESSION, "currency": "usd"}, None, "line_items"),
        (CreateSession, {**A_SESSION, "expires_at": "99999999999999"}, "parameter_invalid_integer", "expires_at"),
        (ListIntents, {"limit": "101"}, None, "limit"),
        (ListIntents, {"limit": "0"}, None, "limit"),
        (ListIntents, {"starting_after": "a", "ending_before": "b"}, "parameters_exclusive", "starting_after"),
        (ListIntents, {"created": {"gte": "x"}}, "parameter_invalid_integer", "created[gte]"),
        (ListIntents, {"created": {"since": "5"}}, "parameter_unknown", "created[since]"),
        (ListIntents, {"created": "253402300800"}, "parameter_invalid_integer", "created"),
        (ListSessions, {"status": "done"}, None, "status"),
        (ListEvents, {"type": "a", "types": ["b"]}, "parameters_exclusive", "type"),
        (CreateEndpoint, {"url": "https://a.example"}, "parameter_missing", "enabled_events"),
        (CreateEndpoint, {"url": "https://a.example", "enabled_events": ["*", "a.b"]}, None, "enabled_events"),
        (CreateEndpoint, {"url": "https://a.example", "enabled_events": ["Bad Type"]}, None, "enabled_events[0]"),
        (UpdateEndpoint, {"enabled_events": ""}, "parameter_invalid_empty", "enabled_events"),
        (CreatePaymentMethod, {"type": "card", "card": {"token": ""}}, "parameter_invalid_empty", "card[token]"),
    ],
)
def test_a_fault_names_its_parameter(
    type: type[Parameters], fields: dict[str, Any], code: str | None, param: str
) -> None:
    error = refused(type, fields)
    assert (error.status, error.type, error.code, error.param) == (400, "invalid_request_error", code, param)
    assert not error.final, "the corrected call may be sent under the same key (RULES §5)"


def test_too_many_metadata_are_refused() -> None:
    metadata = {f"key{number}": "x" for number in range(METADATA_KEYS_MAX + 1)}
    assert refused(CreateIntent, {**AN_INTENT, "metadata": metadata}).code == "metadata_too_many_keys"


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        (CreatePaymentMethod, {"type": "card", "card": {"number": "4242424242424242", "exp_month": "1"}}),
        (CreateIntent, {**AN_INTENT, "payment_method_data": {"card": {"number": "4242424242424242"}}}),
        (CreateIntent, {**AN_INTENT, "number": "4242424242424242"}),
        (CreateIntent, {**AN_INTENT, "4242424242424242": "1"}),
        (CreateIntent, {**AN_INTENT, "amount": "4242 4242 4242 4242"}),
        (CreateIntent, {**AN_INTENT, "capture_method": "4242424242424242"}),
        (CreateIntent, {**AN_INTENT, "confirm": "4242424242424242"}),
    ],
)
def test_a_card_number_is_refused_and_never_repeated(type: type[Parameters], fields: dict[str, Any]) -> None:
    """No PAN in an error (RULES §9)."""
    error = refused(type, fields)
    assert b"4242" not in error.reply().body
    assert "4242" not in repr(error)


def test_metadata_are_merged_and_dropped_as_stripe_does() -> None:
    assert merged_metadata({"a": "1", "b": "2"}, {"b": "", "c": "3"}) == {"a": "1", "c": "3"}
    assert merged_metadata({"a": "1"}, "") == {}
    assert merged_metadata({"a": "1"}, UNSET) == {"a": "1"}


def test_bounds_of_a_created_filter() -> None:
    assert bind(ListIntents, {"created": "5"}).bounds() == (5, 6)
    assert bind(ListIntents, {"created": {"gt": "5", "lte": "9"}}).bounds() == (6, 10)
    assert bind(ListIntents, {"created": {"gte": "5", "gt": "7", "lt": "9"}}).bounds() == (8, 9)
    assert bind(ListIntents, {}).bounds() == (None, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPES = [CreateIntent, UpdateIntent, CreateSession, ListEvents, CreateEndpoint, UpdateEndpoint, CreatePaymentMethod]


@given(st.sampled_from(TYPES), st.data())
def test_any_value_anywhere_gives_parameters_or_a_wire_error(type: type[Parameters], data: st.DataObject) -> None:
    names = st.sampled_from(type.__struct_fields__) | st.text(max_size=5)
    fields = data.draw(st.dictionaries(names, json_values, max_size=8))
    with suppress(errors.InvalidRequest):
        assert isinstance(bind(type, fields), type)
