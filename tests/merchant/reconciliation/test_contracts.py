"""RULES §11, fee_differs: operators say what was agreed, and a day is compared with what held on it."""

from typing import Any

import pytest

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

Books = Any
Files = Any
Stage = Any


async def asked(stage: Stage, method: str, fields: Any = None, connection: str = "", **query: str) -> tuple[int, Any]:
    made = await create_key(stage.database, "Ada", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    address = f"{stage.url}/operator/v1/connections/{connection or stage.connection_id}/fees"
    headers = {"Authorization": f"Bearer {made.key}"}
    async with stage.client.request(method, address, json=fields, params=query, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_what_was_agreed_is_set_shown_and_taken_back(stage: Stage) -> None:
    assert await asked(stage, "GET") == (200, {"connection": stage.connection_id, "data": []})
    first = {"currency": "eur", "basis_points": 140, "fixed": 25, "valid_from": "2026-11-01"}
    assert (await asked(stage, "POST", first))[0] == 201
    later = {"currency": "EUR", "basis_points": 120, "valid_from": "2026-12-01"}
    _, page = await asked(stage, "POST", later)
    assert [(each["valid_from"], each["basis_points"], each["fixed"]) for each in page["data"]] == [
        ("2026-12-01", 120, 0),
        ("2026-11-01", 140, 25),
    ]
    status, page = await asked(stage, "DELETE", currency="eur", valid_from="2026-12-01")
    assert (status, page["data"]) == (200, [first | {"currency": "EUR"}])
    assert (await asked(stage, "DELETE", currency="eur", valid_from="2026-12-01"))[0] == 404
    trail = await stage.database.rows(Statement("x", "SELECT who, what, subject FROM audit ORDER BY audit_id"))
    assert {(each["who"], each["subject"]) for each in trail} == {("Ada", stage.connection_id)}
    assert sorted(each["what"] for each in trail) == ["fees.agreed", "fees.agreed", "fees.taken_back"]


@pytest.mark.parametrize(
    "wrong",
    [{"currency": "XXX"}, {"currency": "eur", "basis_points": 10_001}, {"currency": "eur", "fixed": -1}, {"x": 1}, {}],
)
async def test_what_cannot_be_agreed_is_refused(stage: Stage, wrong: dict[str, Any]) -> None:
    assert (await asked(stage, "POST", wrong))[0] == 422


@pytest.mark.parametrize("connection", ["con_nobody", "mer_x", "x"])
async def test_of_a_connection_that_there_is(stage: Stage, connection: str) -> None:
    for method, fields in (("GET", None), ("POST", {"currency": "eur"})):
        assert (await asked(stage, method, fields, connection))[0] == 404
    another = stage.connection_id[:-4] + "0000"
    assert (await asked(stage, "POST", {"currency": "eur"}, another))[0] == 404


async def test_a_day_is_compared_with_what_held_on_it(books: Books, files: Files) -> None:
    """The fee of the lines is 0.61; RULES §11: ≤ 1 minor unit a line noted, else case."""
    insert = (
        "INSERT INTO fee_contract (merchant_id, connection_id, currency, valid_from, basis_points, fixed_minor) "
        "VALUES ($1::text, $2::text, 'EUR', '2026-11-01', 140, 25), ($1::text, $2::text, 'EUR', '2026-11-27', 500, 0)"
    )
    await books.database.execute(Statement("x", insert), books.merchant_id, books.connection_id)
    order_id = await books.order(1)
    line = files.stripe_row(1, created_utc="2026-11-26 10:00:00") | {"payment_metadata[order_id]": order_id}
    books.gateway.lines.append(line)
    await books.run()
    assert await books.found() == {("fee_differs", "noted")}
    assert [each["agreed"] for each in await books.rows("SELECT details ->> 'agreed' AS agreed FROM mismatch")] == [
        "60"
    ]
