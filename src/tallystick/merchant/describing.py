"""The parts of which the API's OpenAPI description is made (`openapi.py`): operations, answers, parameters. Pure."""

from typing import Any, Final

import msgspec

from tallystick.kernel.problems import PROBLEM_JSON
from tallystick.merchant.errors import ProblemBody

Json = dict[str, Any]

_PROBLEMS: Final = {
    400: "The request cannot be read, or its Idempotency-Key cannot be used.",
    401: "No API key that we know.",
    403: "The policy does not grant it.",
    404: "No such thing, or not yours.",
    409: "Not as the order stands; or the same call is being executed right now, see Retry-After.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Readable, and refused: see errors.",
    429: "Too many calls with this key, or too many keys from this address that open nothing, see Retry-After.",
    500: "A fault of ours; the reference names it in our logs.",
    502: "The gateway does not accept our credentials or address.",
    503: "Not now: the database or the gateway is away. Repeat the call with the same key.",
}


def operation(
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
    """One operation of a path. `name` is its operationId. Who needs a key may show it too often."""
    problems = problems if public else (*problems, 429)
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


def answer(description: str, model: type) -> Json:
    """An answer whose body is `model`."""
    return {"description": description, "content": {"application/json": {"schema": _reference(model)}}}


def _problem(status: int) -> Json:
    return {"description": _PROBLEMS[status], "content": {PROBLEM_JSON: {"schema": _reference(ProblemBody)}}}


def _reference(model: type) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def parameter(place: str, name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    """A parameter; `place` is path, query or header."""
    return {"in": place, "name": name, "schema": schema, "description": description, "required": required}


def query(model: type[msgspec.Struct]) -> list[Json]:
    """The query parameters that `model` takes."""
    _, schemas = msgspec.json.schema_components([model])
    parameters = []
    for name, schema in schemas[model.__name__]["properties"].items():
        # An optional parameter is absent, it is never null.
        kinds = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
        assert len(kinds) == 1, "a query parameter has one type"
        members = {key: value for key, value in kinds[0].items() if key != "description"}
        required = name in schemas[model.__name__].get("required", ())
        parameters.append(parameter("query", name, members, kinds[0]["description"], required=required))
    return parameters
