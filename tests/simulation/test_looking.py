"""What the simulation need not ask: due times, looks in vain, and what a statement reads and writes."""

from datetime import timedelta

import pytest

from tallystick.ports.database import Statement
from tallystick.simulation.due import NEVER, NONE, DueTimes, Times
from tallystick.simulation.order import only_reads, tables_of, tells_of_all_it_writes, written_by
from tallystick.simulation.ports import EPOCH
from tallystick.simulation.server import VirtualServer
from tallystick.simulation.vain import Vain

LOOK = Statement("look", "SELECT t.id FROM thing t WHERE t.due_at <= $1::timestamptz LIMIT $2::int")


@pytest.fixture
def server(empty_dsn: str) -> VirtualServer:
    made = VirtualServer(empty_dsn, "gateway")
    made.control.command("CREATE TABLE thing (id int, due_at timestamptz, created_at timestamptz)")
    return VirtualServer(empty_dsn, "gateway")


class Known:
    """An account of one table whose times are given."""

    def __init__(self, *at_s: float, beside_s: tuple[float, ...] = ()) -> None:
        self.times = Times(-100.0, at_s, beside_s)
        self.version = 0

    def changed_since(self, version: int, _tables: object) -> bool:
        return self.version > version

    def none_due_between(self, _tables: object, one_s: float, other_s: float) -> bool:
        return self.times.none_between(one_s, other_s)


def test_times_are_asked_of_all_columns_and_those_of_the_past_are_told_apart(server: VirtualServer) -> None:
    at = ", ".join(f"'{EPOCH + timedelta(seconds=seconds)}'::timestamptz" for seconds in (7.5, 2.25))
    server.control.command(f"INSERT INTO thing VALUES (1, NULL, NULL), (2, {at}), (3, '2020-01-01', '2020-01-01')")
    times = DueTimes(server).ask(["thing"], -10.0)["thing"]
    assert (times.at_s, times.beside_s) == ([7.5], [2.25])
    assert times.first_after(7.0) == 7.5
    assert times.first_after(7.5) == NEVER


def test_what_is_new_among_times_is_found_though_it_lies_in_the_past() -> None:
    before = Times(0.0, (3.0, 5.0, 9.0), ())
    assert Times(1.0, (3.0, 4.0, 5.0), ()).first_beside(before, 10.0) == 4.0
    assert Times(1.0, (3.0, 5.0, 5.0), ()).first_beside(before, 10.0) == 5.0  # another row, due at the same time
    assert Times(1.0, (3.0, 5.0, 11.0), ()).first_beside(before, 10.0) == NEVER
    assert Times(1.0, (3.0,), ()).first_beside(NONE, 10.0) == 3.0


def test_what_was_looked_for_in_vain_is_not_there_until_something_is_written() -> None:
    vain, known, tables = Vain(), Known(), frozenset({"thing"})
    assert not vain.known(LOOK, tables, (EPOCH, 5), known)
    vain.found_nothing(LOOK, (EPOCH, 5), known.version)
    assert vain.known(LOOK, tables, (EPOCH + timedelta(seconds=50), 5), known)
    assert not vain.known(LOOK, tables, (EPOCH, 6), known)
    known.version += 1
    assert not vain.known(LOOK, tables, (EPOCH, 5), known)


def test_what_was_looked_for_in_vain_may_be_there_once_a_time_has_come() -> None:
    vain, tables = Vain(), frozenset({"thing"})
    vain.found_nothing(LOOK, (EPOCH, 5), 0)
    later = EPOCH + timedelta(seconds=50)
    assert vain.known(LOOK, tables, (later, 5), Known(51.0, beside_s=(60.0,)))
    assert not vain.known(LOOK, tables, (later, 5), Known(50.0))
    assert not vain.known(LOOK, tables, (later, 5), Known(beside_s=(50.0,)))
    assert not vain.known(LOOK, tables, (EPOCH - timedelta(seconds=101), 5), Known())  # of that nothing is known


def test_a_statement_that_reckons_with_times_or_writes_is_always_asked() -> None:
    vain, tables = Vain(), frozenset({"thing"})
    reckons = Statement("a", "SELECT id FROM thing WHERE due_at < $1::timestamptz - interval '1 hour'")
    deletes = Statement("b", "DELETE FROM thing WHERE due_at < $1::timestamptz")
    for statement in (reckons, deletes):
        vain.found_nothing(statement, (EPOCH,), 0)
        assert not vain.known(statement, tables, (EPOCH + timedelta(seconds=1),), Known())


def test_a_statement_tells_what_it_reads_and_writes() -> None:
    reads = Statement("a", "SELECT a.errand, b.x FROM attempt AS a, charge b JOIN (SELECT FROM orders) AS o ON true")
    assert tables_of(reads) & {"errand", "attempt", "charge", "orders"} == {"attempt", "charge", "orders"}
    assert only_reads(reads)
    locks = Statement("b", "SELECT FROM orders o FOR NO KEY UPDATE OF o")
    assert (only_reads(locks), written_by(locks)) == (False, frozenset())
    writes = Statement(
        "c",
        "WITH x AS (UPDATE attempt SET y = 1), z AS (DELETE FROM inbox)"
        "INSERT INTO orders SELECT FROM charge ON CONFLICT DO UPDATE SET y = 2",
    )
    assert written_by(writes) == {"attempt", "inbox", "orders"}
    assert not tells_of_all_it_writes(writes)
    assert tells_of_all_it_writes(Statement("d", "UPDATE attempt SET y = 1"))


def test_a_table_of_a_schema_is_recognised_by_its_name() -> None:
    reads = Statement(
        "a", "SELECT c.email, k.x FROM pii.customer c LEFT JOIN pii.subject_key k ON true, pii.other AS o"
    )
    assert tables_of(reads) & {"customer", "subject_key", "other", "pii"} == {"customer", "subject_key", "other"}
    assert written_by(Statement("b", "UPDATE pii.customer SET x = 1")) == {"customer"}
    assert written_by(Statement("c", "INSERT INTO pii.subject_key SELECT 1")) == {"subject_key"}
