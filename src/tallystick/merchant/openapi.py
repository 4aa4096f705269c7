"""The OpenAPI 3.1 description of the API: what `/openapi.json` serves. Pure. The schemas are the structs that the
code uses.

It is written by hand, route by route, so that it says exactly what is answered; a test holds it against the routes
that exist.
"""

from typing import Any, Final

import msgspec

from tallystick import __version__
from tallystick.merchant.cases.api import CasePage, CasesQuery
from tallystick.merchant.cases.cases import Case
from tallystick.merchant.checkout.request import CreateOrder
from tallystick.merchant.errors import PROBLEM_JSON, ProblemBody
from tallystick.merchant.orders.api import Cancel, OrdersQuery, PayAgain, TimelineQuery
from tallystick.merchant.orders.view import OrderPage, OrderView, TimelinePage
from tallystick.merchant.reconciliation.api import FileQuery, MismatchesQuery, Reconcile, ReportQuery, RunsQuery
from tallystick.merchant.reconciliation.view import MismatchPage, RunPage, RunView
from tallystick.merchant.refunds.commands import CreateRefund, RefundView

Json = dict[str, Any]

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
    order_id = _parameter("path", "order_id", {"type": "string"}, "The order's id.", required=True)
    return {
        "/v1/orders": {"post": _place_order(), "get": _list_orders()},
        "/v1/orders/{order_id}": {"get": _show_order(order_id)},
        "/v1/orders/{order_id}/timeline": {"get": _show_timeline(order_id)},
        "/v1/orders/{order_id}/attempts": {"post": _pay_again(order_id)},
        "/v1/orders/{order_id}/cancel": {"post": _cancel(order_id)},
        "/v1/orders/{order_id}/refunds": {"post": _refund(order_id)},
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
    return _operation(
        "placeOrder",
        "Place an order",
        "Stores the order as PENDING, opens a checkout at the gateway and says where to send the shopper. "
        "Send either `amount` or `line_items`.",
        [_KEY],
        {"201": _answer("The order, ready to be paid.", OrderView) | {"links": _LINKS}},
        (400, 401, 409, 413, 415, 422, 500, 502, 503),
        body=CreateOrder,
        examples=_ORDER_EXAMPLES,
    )


def _list_orders() -> Json:
    answers = {"200": _answer("A page of orders.", OrderPage)}
    return _operation(
        "listOrders", "List orders", "The newest first.", _query(OrdersQuery), answers, (401, 422, 500, 503)
    )


def _show_order(order_id: Json) -> Json:
    answers = {"200": _answer("The order.", OrderView)}
    return _operation(
        "showOrder", "Show an order", "The order as it stands.", [order_id], answers, (401, 404, 422, 500, 503)
    )


def _show_timeline(order_id: Json) -> Json:
    return _operation(
        "showTimeline",
        "Explain an order",
        "Everything that changed it, the oldest first: who told what, when, and what followed.",
        [order_id, *_query(TimelineQuery)],
        {"200": _answer("A page of the timeline.", TimelinePage)},
        (401, 404, 422, 500, 503),
    )


def _pay_again(order_id: Json) -> Json:
    return _operation(
        "payAgain",
        "Pay again",
        "Opens a new checkout for an order that is FAILED, EXPIRED or CANCELED: it is PENDING again.",
        [order_id, _KEY],
        {"201": _answer("The order, ready to be paid.", OrderView)},
        (400, 401, 404, 409, 413, 415, 422, 500, 502, 503),
        body=PayAgain,
        examples={"again": {"summary": "Nothing needs to be said", "value": {}}},
        body_required=False,
    )


def _cancel(order_id: Json) -> Json:
    return _operation(
        "cancelOrder",
        "Cancel an order",
        "Asks for the end of a PENDING order: CANCELED once the gateway has closed it, PAID if money was faster.",
        [order_id, _KEY],
        {
            "200": _answer("The order, CANCELED before.", OrderView),
            "202": _answer("The order; its end is asked for.", OrderView),
        },
        (400, 401, 404, 409, 413, 415, 422, 500, 503),
        body=Cancel,
        examples={"cancel": {"summary": "Nothing needs to be said", "value": {}}},
        body_required=False,
    )


def _refund(order_id: Json) -> Json:
    return _operation(
        "refundOrder",
        "Give money back",
        "Refunds a paid order, in part or what is left of it. What becomes of it later is shown with the order.",
        [order_id, _KEY],
        {"201": _answer("The refund.", RefundView)},
        (400, 401, 404, 409, 413, 415, 422, 500, 502, 503),
        body=CreateRefund,
        examples={
            "part": {"summary": "A part", "value": {"amount": 700}},
            "rest": {"summary": "What is left", "value": {}},
        },
        body_required=False,
    )


def _list_cases() -> Json:
    answers = {"200": _answer("A page of cases.", CasePage)}
    return _operation(
        "listCases",
        "List cases",
        "What a person must see or decide, the newest first.",
        _query(CasesQuery),
        answers,
        (401, 422, 500, 503),
    )


def _show_case() -> Json:
    case_id = _parameter("path", "case_id", {"type": "string"}, "The case's id.", required=True)
    answers = {"200": _answer("The case.", Case)}
    return _operation(
        "showCase", "Show a case", "Everything that is known of it.", [case_id], answers, (401, 404, 422, 500, 503)
    )


def _list_runs() -> Json:
    answers = {"200": _answer("A page of runs.", RunPage)}
    return _operation(
        "listReconciliations",
        "List reconciliations",
        "The newest first, without their files.",
        _query(RunsQuery),
        answers,
        (401, 422, 500, 503),
    )


def _reconcile() -> Json:
    return _operation(
        "reconcile",
        "Reconcile a day",
        "Asks for the comparison of a business day. A day has one run: asked for again, it is answered and nothing "
        "is done twice. A dry run is always a new one.",
        [],
        {"202": _answer("The run; look at it again until it is done.", RunView)},
        (400, 401, 413, 415, 422, 500, 503),
        body=Reconcile,
        examples={"day": {"summary": "A day", "value": {"date": "2026-11-27", "dry_run": True}}},
    )


def _hand_in() -> Json:
    operation = _operation(
        "reconcileFile",
        "Hand in a settlement file",
        "The body is the file as it is: a report in Stripe's or Adyen's layout, or a bank statement in camt.053.",
        _query(FileQuery),
        {"202": _answer("The run; look at it again until it is done.", RunView)},
        (401, 413, 422, 500, 503),
    )
    operation["requestBody"] = {"required": False, "content": {"application/octet-stream": {"schema": {}}}}
    return operation


def _show_run() -> Json:
    answers = {"200": _answer("The run.", RunView)}
    return _operation(
        "showReconciliation", "Show a reconciliation", "With its files.", [_RUN_ID], answers, (401, 404, 422, 500, 503)
    )


def _show_report() -> Json:
    content: Json = {"text/html": {}, "text/csv": {}}
    return _operation(
        "reconciliationReport",
        "Read a day's report",
        "A page for people, or all that did not fit as a table.",
        [_RUN_ID, *_query(ReportQuery)],
        {"200": {"description": "The report.", "content": content}},
        (401, 404, 422, 500, 503),
    )


def _list_mismatches() -> Json:
    answers = {"200": _answer("A page of mismatches.", MismatchPage)}
    return _operation(
        "listMismatches",
        "List mismatches",
        "What did not fit, of all runs or of one.",
        _query(MismatchesQuery),
        answers,
        (401, 422, 500, 503),
    )


def _return_page(order_id: Json) -> Json:
    page: Json = {"text/html": {}}
    return _operation(
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
    return _operation(name, summary, description, [], {"200": _answer("It is.", Health)}, problems, public=True)


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

_REFUND_EXAMPLES: Final[Json] = {
    "part": {"summary": "A part", "value": {"amount": 700}},
    "rest": {"summary": "All that is left", "value": {}},
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

_PROBLEMS: Final = {
    400: "The request cannot be read, or its Idempotency-Key cannot be used.",
    401: "No API key that we know.",
    404: "No such thing, or not yours.",
    409: "Not as the order stands; or the same call is being executed right now, see Retry-After.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Readable, and refused: see errors.",
    500: "A fault of ours; the reference names it in our logs.",
    502: "The gateway does not accept our credentials or address.",
    503: "Not now: the database or the gateway is away. Repeat the call with the same key.",
}


def _operation(
    name: str,
    summary: str,
    description: str,
    parameters: list[Json],
    answers: Json,
    problems: tuple[int, ...],
    *,
    body: type | None = None,
    examples: Json | None = None,
    body_required: bool = True,
    public: bool = False,
) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": [] if public else [{"api_key": []}],
        "parameters": parameters,
        "responses": answers | {str(status): _problem(status) for status in problems},
    }
    if body is not None:
        content = {"schema": _reference(body), "examples": examples}
        operation["requestBody"] = {"required": body_required, "content": {"application/json": content}}
    return operation


def _answer(description: str, model: type) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _reference(model)}}}


def _problem(status: int) -> Json:
    return {"description": _PROBLEMS[status], "content": {PROBLEM_JSON: {"schema": _reference(ProblemBody)}}}


def _reference(model: type) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _parameter(place: str, name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {"in": place, "name": name, "schema": schema, "description": description, "required": required}


def _query(model: type[msgspec.Struct]) -> list[Json]:
    _, schemas = msgspec.json.schema_components([model])
    parameters = []
    for name, schema in schemas[model.__name__]["properties"].items():
        # An optional parameter is absent, it is never null.
        kinds = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
        assert len(kinds) == 1, "a query parameter has one type"
        members = {key: value for key, value in kinds[0].items() if key != "description"}
        required = name in schemas[model.__name__].get("required", ())
        parameters.append(_parameter("query", name, members, kinds[0]["description"], required=required))
    return parameters
