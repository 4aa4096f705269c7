"""The OpenAPI 3.1 description of the API: what `/openapi.json` serves. Pure. The schemas are the structs that the
code uses.

It is written by hand, route by route, so that it says exactly what is answered; a test holds it against the routes
that exist.
"""

from typing import Final

import msgspec

from tallystick import __version__
from tallystick.merchant.cases.api import CasePage, CasesQuery
from tallystick.merchant.cases.cases import Case
from tallystick.merchant.checkout.api import Cancel, PayAgain
from tallystick.merchant.checkout.request import CreateOrder
from tallystick.merchant.customers import description as customers
from tallystick.merchant.describing import Json, answer, operation, parameter, query
from tallystick.merchant.errors import ProblemBody
from tallystick.merchant.orders.api import OrdersQuery, TimelineQuery
from tallystick.merchant.orders.view import OrderPage, OrderView, TimelinePage
from tallystick.merchant.reconciliation.api import FileQuery, MismatchesQuery, Reconcile, ReportQuery, RunsQuery
from tallystick.merchant.reconciliation.view import MismatchPage, RunPage, RunView
from tallystick.merchant.refunds.commands import CreateRefund, RefundView

DESCRIPTION: Final = """\
Orders and their payments. Amounts are minor units of ISO 4217 currencies; times are UTC.

A call that moves money carries an `Idempotency-Key`: repeated with the same key and the same fields it is executed \
once and answered with the same bytes (`Idempotent-Replayed: true`). After an answer of 500 or above, or none at all, \
repeat it with the same key.

Ship only when `fulfilment` is `allowed`.
"""


class Health(msgspec.Struct, frozen=True):
    """The process, or what it needs, is there."""

    status: str


def document(origin: str) -> Json:
    """The description of the API as it is served at `origin`."""
    models = (
        CreateOrder,
        OrderView,
        OrderPage,
        TimelinePage,
        PayAgain,
        Cancel,
        CreateRefund,
        RefundView,
        *customers.MODELS,
        Case,
        CasePage,
        Reconcile,
        RunView,
        RunPage,
        MismatchPage,
        ProblemBody,
        Health,
    )
    _, schemas = msgspec.json.schema_components(models, ref_template="#/components/schemas/{name}")
    schemas["CreateOrder"]["oneOf"] = _EITHER_AMOUNT_OR_LINES
    customers.complete(schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tallystick merchant API", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": origin}],
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "An API key: tsk_… of your merchant."}
            },
        },
    }


def _paths() -> Json:
    order_id = parameter("path", "order_id", {"type": "string"}, "The order's id.", required=True)
    return {
        "/v1/orders": {"post": _place_order(), "get": _list_orders()},
        "/v1/orders/{order_id}": {"get": _show_order(order_id)},
        "/v1/orders/{order_id}/timeline": {"get": _show_timeline(order_id)},
        "/v1/orders/{order_id}/attempts": {"post": _pay_again(order_id)},
        "/v1/orders/{order_id}/cancel": {"post": _cancel(order_id)},
        "/v1/orders/{order_id}/refunds": {"post": _refund(order_id)},
        **customers.paths(),
        "/v1/cases": {"get": _list_cases()},
        "/v1/cases/{case_id}": {"get": _show_case()},
        "/v1/reconciliations": {"get": _list_runs(), "post": _reconcile()},
        "/v1/reconciliations/files": {"post": _hand_in()},
        "/v1/reconciliations/{run_id}": {"get": _show_run()},
        "/v1/reconciliations/{run_id}/report": {"get": _show_report()},
        "/v1/mismatches": {"get": _list_mismatches()},
        "/return/{order_id}": {"get": _return_page(order_id)},
        "/healthz": {"get": _health("health", "Is the process alive", "Looks at nothing else.", (500,))},
        "/readyz": {"get": _health("ready", "Can it work", "Asks the database.", (500, 503))},
    }


def _place_order() -> Json:
    return operation(
        "placeOrder",
        "Place an order",
        "Stores the order as PENDING, opens a checkout at the gateway and says where to send the shopper. "
        "Send either `amount` or `line_items`.",
        [_KEY],
        {"201": answer("The order, ready to be paid.", OrderView) | {"links": _LINKS}},
        (400, 401, 409, 413, 415, 422, 500, 502, 503),
        body=CreateOrder,
        examples=_ORDER_EXAMPLES,
    )


def _list_orders() -> Json:
    answers = {"200": answer("A page of orders.", OrderPage)}
    return operation(
        "listOrders", "List orders", "The newest first.", query(OrdersQuery), answers, (401, 422, 500, 503)
    )


def _show_order(order_id: Json) -> Json:
    answers = {"200": answer("The order.", OrderView)}
    return operation(
        "showOrder", "Show an order", "The order as it stands.", [order_id], answers, (401, 404, 422, 500, 503)
    )


def _show_timeline(order_id: Json) -> Json:
    return operation(
        "showTimeline",
        "Explain an order",
        "Everything that changed it, the oldest first: who told what, when, and what followed.",
        [order_id, *query(TimelineQuery)],
        {"200": answer("A page of the timeline.", TimelinePage)},
        (401, 404, 422, 500, 503),
    )


def _pay_again(order_id: Json) -> Json:
    return operation(
        "payAgain",
        "Pay again",
        "Opens a new checkout for an order that is FAILED, EXPIRED or CANCELED: it is PENDING again.",
        [order_id, _KEY],
        {"201": answer("The order, ready to be paid.", OrderView)},
        (400, 401, 404, 409, 413, 415, 422, 500, 502, 503),
        body=PayAgain,
        examples={"again": {"summary": "Nothing needs to be said", "value": {}}},
        body_required=False,
    )


def _cancel(order_id: Json) -> Json:
    return operation(
        "cancelOrder",
        "Cancel an order",
        "Asks for the end of a PENDING order: CANCELED once the gateway has closed it, PAID if money was faster.",
        [order_id, _KEY],
        {
            "200": answer("The order, CANCELED before.", OrderView),
            "202": answer("The order; its end is asked for.", OrderView),
        },
        (400, 401, 404, 409, 413, 415, 422, 500, 503),
        body=Cancel,
        examples={"cancel": {"summary": "Nothing needs to be said", "value": {}}},
        body_required=False,
    )


def _refund(order_id: Json) -> Json:
    return operation(
        "refundOrder",
        "Give money back",
        "Refunds a paid order, in part or what is left of it. What becomes of it later is shown with the order.",
        [order_id, _KEY],
        {"201": answer("The refund.", RefundView)},
        (400, 401, 404, 409, 413, 415, 422, 500, 502, 503),
        body=CreateRefund,
        examples={
            "part": {"summary": "A part", "value": {"amount": 700}},
            "rest": {"summary": "What is left", "value": {}},
        },
        body_required=False,
    )


def _list_cases() -> Json:
    answers = {"200": answer("A page of cases.", CasePage)}
    return operation(
        "listCases",
        "List cases",
        "What a person must see or decide, the newest first.",
        query(CasesQuery),
        answers,
        (401, 422, 500, 503),
    )


def _show_case() -> Json:
    case_id = parameter("path", "case_id", {"type": "string"}, "The case's id.", required=True)
    answers = {"200": answer("The case.", Case)}
    return operation(
        "showCase", "Show a case", "Everything that is known of it.", [case_id], answers, (401, 404, 422, 500, 503)
    )


def _list_runs() -> Json:
    answers = {"200": answer("A page of runs.", RunPage)}
    return operation(
        "listReconciliations",
        "List reconciliations",
        "The newest first, without their files.",
        query(RunsQuery),
        answers,
        (401, 422, 500, 503),
    )


def _reconcile() -> Json:
    return operation(
        "reconcile",
        "Reconcile a day",
        "Asks for the comparison of a business day. A day has one run: asked for again, it is answered and nothing "
        "is done twice. A dry run is always a new one.",
        [],
        {"202": answer("The run; look at it again until it is done.", RunView)},
        (400, 401, 413, 415, 422, 500, 503),
        body=Reconcile,
        examples={"day": {"summary": "A day", "value": {"date": "2026-11-27", "dry_run": True}}},
    )


def _hand_in() -> Json:
    handing_in = operation(
        "reconcileFile",
        "Hand in a settlement file",
        "The body is the file as it is: a report in Stripe's or Adyen's layout, or a bank statement in camt.053.",
        query(FileQuery),
        {"202": answer("The run; look at it again until it is done.", RunView)},
        (401, 413, 422, 500, 503),
    )
    handing_in["requestBody"] = {"required": False, "content": {"application/octet-stream": {"schema": {}}}}
    return handing_in


def _show_run() -> Json:
    answers = {"200": answer("The run.", RunView)}
    return operation(
        "showReconciliation", "Show a reconciliation", "With its files.", [_RUN_ID], answers, (401, 404, 422, 500, 503)
    )


def _show_report() -> Json:
    content: Json = {"text/html": {}, "text/csv": {}}
    return operation(
        "reconciliationReport",
        "Read a day's report",
        "A page for people, or all that did not fit as a table.",
        [_RUN_ID, *query(ReportQuery)],
        {"200": {"description": "The report.", "content": content}},
        (401, 404, 422, 500, 503),
    )


def _list_mismatches() -> Json:
    answers = {"200": answer("A page of mismatches.", MismatchPage)}
    return operation(
        "listMismatches",
        "List mismatches",
        "What did not fit, of all runs or of one.",
        query(MismatchesQuery),
        answers,
        (401, 422, 500, 503),
    )


def _return_page(order_id: Json) -> Json:
    page: Json = {"text/html": {}}
    return operation(
        "returnPage",
        "Come back from paying",
        "A page for the shopper: asks the gateway, shows the truth, and leads back to the shop.",
        [order_id],
        {
            "200": {"description": "The page.", "content": page},
            "303": {"description": "The way back to the shop."},
            "404": {"description": "No such order.", "content": page},
            "503": {"description": "The database is away.", "content": page},
        },
        (500,),
        public=True,
    )


def _health(name: str, summary: str, description: str, problems: tuple[int, ...]) -> Json:
    return operation(name, summary, description, [], {"200": answer("It is.", Health)}, problems, public=True)


_EITHER_AMOUNT_OR_LINES: Final[list[Json]] = [
    {"required": ["amount"], "properties": {"amount": {"type": "integer"}, "line_items": {"type": "null"}}},
    {"required": ["line_items"], "properties": {"line_items": {"type": "array"}, "amount": {"type": "null"}}},
]

_ORDER_EXAMPLES: Final[Json] = {
    "total": {
        "summary": "A total",
        "value": {"amount": 2500, "currency": "EUR", "reference": "basket-17"},
    },
    "lines": {
        "summary": "Lines, and who buys",
        "value": {
            "currency": "EUR",
            "line_items": [{"name": "Darjeeling, 100 g", "amount": 1250, "quantity": 2}],
            "customer": {"email": "ada@example.org", "name": "Ada"},
            "ui_mode": "embedded",
            "expires_in_s": 900,
            "metadata": {"basket": "17"},
        },
    },
}

_LINKS: Final[Json] = {
    name: {"operationId": name, "parameters": {"path.order_id": "$response.body#/id"}}
    for name in ("showOrder", "showTimeline", "returnPage")
}

_KEY_SCHEMA: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~][ -~]*$"}

_KEY: Final[Json] = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": _KEY_SCHEMA,
    "description": "Unique to what you mean to do.",
    "required": True,
}

_RUN_ID: Final[Json] = {
    "in": "path",
    "name": "run_id",
    "schema": {"type": "string"},
    "description": "The run's id.",
    "required": True,
}
