"""The rules of the house (docs/architecture.md), which a newcomer can read here as the architecture.

The source is read, not imported or run. Every exception stands in a list with its reason; one that is not needed any
more fails too. The rules that need a database (statements prepare, keys begin with the owner) are in test_catalogue.py.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import pytest

import tallystick

ROOT = Path(__file__).parent.parent
SOURCE = Path(tallystick.__file__).parent.parent  # of what is tested, which scripts/mutants.py changes in a copy

# Imports run downwards only. Rooms of one storey may use each other, except the two services.
STOREYS = {"ports": 0, "kernel": 1, "merchant": 2, "gateway": 2, "simulation": 3, "demo": 3, "cli": 3}

# Pure modules decide; they are given everything, the time too. They import what is listed here and one another.
PURE = {
    "tallystick.gateway.access",
    "tallystick.gateway.balance.payout",
    "tallystick.gateway.balance.transactions",
    "tallystick.gateway.card_testing.limits",
    "tallystick.gateway.cards.brands",
    "tallystick.gateway.cards.pan",
    "tallystick.gateway.cards.retention",
    "tallystick.gateway.cases.concerns",
    "tallystick.gateway.checkout.session",
    "tallystick.gateway.ledger.postings",
    "tallystick.gateway.ledger.terms",
    "tallystick.gateway.payments.payment",
    "tallystick.gateway.payments.schedule",
    "tallystick.gateway.reporting.run",
    "tallystick.gateway.settlement.lines",
    "tallystick.gateway.settlement.report",
    "tallystick.gateway.webhooks.event_types",
    "tallystick.kernel.addresses",
    "tallystick.kernel.backoff",
    "tallystick.kernel.card_numbers",
    "tallystick.kernel.columns",
    "tallystick.kernel.console.access",
    "tallystick.kernel.console.charts",
    "tallystick.kernel.database_address",
    "tallystick.kernel.delivery.health",
    "tallystick.kernel.delivery.pacing",
    "tallystick.kernel.delivery.protocol",
    "tallystick.kernel.delivery.states",
    "tallystick.kernel.logins.backoff",
    "tallystick.kernel.money",
    "tallystick.kernel.monitoring.alerts",
    "tallystick.kernel.monitoring.conditions",
    "tallystick.kernel.monitoring.grafana",
    "tallystick.kernel.monitoring.prometheus",
    "tallystick.kernel.monitoring.rules",
    "tallystick.kernel.operators.roles",
    "tallystick.kernel.origins",
    "tallystick.kernel.page_headers",
    "tallystick.kernel.proxies",
    "tallystick.kernel.signatures",
    "tallystick.kernel.timeline.entries",
    "tallystick.kernel.timeline.telling",
    "tallystick.kernel.timeline.wording",
    "tallystick.merchant.access",
    "tallystick.merchant.expiry.steps",
    "tallystick.merchant.gateways.adyen_currencies",
    "tallystick.merchant.gateways.stripe_currencies",
    "tallystick.merchant.gateways.stripe_events",
    "tallystick.merchant.gateways.stripe_objects",
    "tallystick.merchant.late_money.policy",
    "tallystick.merchant.notifications.events",
    "tallystick.merchant.reconciliation.findings",
    "tallystick.merchant.reconciliation.lines",
    "tallystick.merchant.reconciliation.limits",
    "tallystick.merchant.reconciliation.matching",
    "tallystick.merchant.orders.consequences",
    "tallystick.merchant.orders.facts",
    "tallystick.merchant.orders.learning",
    "tallystick.merchant.orders.merge",
    "tallystick.merchant.orders.state",
}
# Modules whose types pure modules may name: how a call to the outside ended, what an adapter is asked.
TYPES = {"tallystick.kernel.outcomes", "tallystick.ports.http", "tallystick.merchant.gateways.port"}
PURE_LIBRARIES = set(
    "__future__ base64 binascii collections copy dataclasses datetime decimal email enum fractions functools hashlib "
    "hmac ipaddress itertools json math operator re string struct textwrap types typing urllib.parse babel iso4217 "
    "msgspec".split()
)

# What reaches the outside world, and is therefore to be had through a port only.
OUTSIDE_MODULES = set(
    "time random secrets uuid socket ssl select selectors subprocess multiprocessing http.client urllib.request "
    "smtplib aiohttp apprise httpx requests asyncpg psycopg sqlalchemy".split()
)
OUTSIDE_CALLS = set(
    "datetime.now datetime.utcnow datetime.today date.today os.urandom os.getrandom loop.time loop.create_connection "
    "asyncio.sleep asyncio.open_connection asyncio.open_unix_connection asyncio.start_server "
    "asyncio.create_subprocess_exec asyncio.create_subprocess_shell".split()
)
OUTSIDE_ALLOWED = {
    "tallystick.cli.serving socket": "names the type of the sockets that the server is given",
    "tallystick.cli.supervisor asyncio.create_subprocess_exec": "starts the services of one machine as processes",
    "tallystick.demo.addresses socket": "looks which ports are free before the services are told to take them",
    "tallystick.simulation.running asyncio.create_subprocess_exec": "seeds run in processes of their own",
    "tallystick.kernel.migrations psycopg": "migrates before there is a schema that statements could be written for",
    "tallystick.kernel.migrations sqlalchemy": "Alembic's engine; nothing else uses it",
}

# The simulation is the virtual side of the ports: seeded dice, and waiting on a loop whose time is virtual.
SIMULATED = {"random", "asyncio.sleep"}

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}
MODULE_LINES_MAX = 450  # 50 to 300 have served well; a module that needs a table of contents is two modules
FUNCTION_LINES_MAX = 80  # fits a screen

OWNERS = ("merchant_id", "account_id", "owner_id")
OWNER_NOT_FIRST: dict[str, str] = {
    "gateway/accounts list_accounts": "an operator's id is looked for in all accounts",
    "gateway/accounts insert_keys": "the key directory: found by hash before the owner is known",
    "gateway/acquirers bank_tells": "the simulated bank tells of all its merchants",
    "gateway/faults live_faults": "operators set faults, for one account or for all",
    "gateway/faults all_faults": "operators set faults, for one account or for all",
    "gateway/faults insert_fault": "operators set faults, for one account or for all",
    "gateway/faults strike": "operators set faults, for one account or for all",
    "gateway/faults delete_faults": "operators set faults, for one account or for all",
    "gateway/cases untold_cases": "people are told of the cases of all owners",
    "gateway/vault due_cards": "a worker looks for what is due of all owners",
    "gateway/vault key_versions": "key-encryption keys belong to the installation",
    "gateway/payments due_charges": "a worker looks for what is due of all owners",
    "gateway/payments due_requests": "a worker looks for what is due of all owners",
    "gateway/settlement due_days": "a worker looks for what is due of all owners",
    "kernel/delivery due_alerts": "the alerter tells what is to be told of all owners",
    "kernel/delivery due_keeps": "the keeper looks for backlogs of all owners",
    "kernel/idempotency oldest_key": "the completer looks for what was abandoned by all owners",
    "kernel/idempotency running_keys": "the completer looks for what was abandoned by all owners",
    "kernel/delivery cancel_redrive": "redrives are jobs of operators, across owners",
    "kernel/delivery claim_redrive": "redrives are jobs of operators, across owners",
    "kernel/delivery due_redrives": "redrives are jobs of operators, across owners",
    "kernel/delivery find_redrive": "redrives are jobs of operators, across owners",
    "kernel/delivery insert_redrive": "redrives are jobs of operators, across owners",
    "kernel/delivery list_redrives": "redrives are jobs of operators, across owners",
    "kernel/delivery record_redrive": "redrives are jobs of operators, across owners",
    "kernel/audit insert_audit_entry": "operators belong to the installation",
    "kernel/audit insert_audit_outcome": "operators belong to the installation",
    "kernel/audit page_of_audit_entries": "operators belong to the installation",
    "kernel/audit/purging purge_audit_entries": "operators belong to the installation",
    "kernel/timeline acts_about": "operators belong to the installation",
    "kernel/operators find_operator_key": "operators belong to the installation",
    "kernel/logins delete_operator_session": "operators belong to the installation",
    "kernel/logins delete_operator_sessions": "operators belong to the installation",
    "kernel/logins delete_second_factor": "operators belong to the installation",
    "kernel/logins disable_operator_user": "operators belong to the installation",
    "kernel/logins find_operator_place": "operators belong to the installation",
    "kernel/logins find_operator_session": "operators belong to the installation",
    "kernel/logins find_operator_user": "operators belong to the installation",
    "kernel/logins find_second_factor": "operators belong to the installation",
    "kernel/logins forget_login_failures": "operators belong to the installation",
    "kernel/logins forgive_login": "operators belong to the installation",
    "kernel/logins insert_operator_session": "operators belong to the installation",
    "kernel/logins insert_operator_user": "operators belong to the installation",
    "kernel/logins list_operator_users": "operators belong to the installation",
    "kernel/logins lock_login_failures": "operators belong to the installation",
    "kernel/logins note_operator_place": "operators belong to the installation",
    "kernel/logins open_login_failures": "operators belong to the installation",
    "kernel/logins propose_second_factor": "operators belong to the installation",
    "kernel/logins rewrap_second_factors": "operators belong to the installation",
    "kernel/logins save_login_failures": "operators belong to the installation",
    "kernel/logins see_operator_session": "operators belong to the installation",
    "kernel/logins set_operator_password": "operators belong to the installation",
    "kernel/logins set_operator_role": "operators belong to the installation",
    "kernel/logins take_back_failure": "operators belong to the installation",
    "kernel/logins use_second_factor": "operators belong to the installation",
    "kernel/logins wrap_second_factor": "operators belong to the installation",
    "kernel/logins wrapped_second_factors": "operators belong to the installation",
    "kernel/operators insert_operator_key": "operators belong to the installation",
    "kernel/operators list_operator_keys": "operators belong to the installation",
    "kernel/operators revoke_operator_key": "operators belong to the installation",
    "kernel/sandbox read_sandbox_clock": "one row: the sandbox has one time",
    "kernel/sandbox raise_sandbox_target": "one row: the sandbox has one time",
    "kernel/sandbox move_sandbox_clock": "one row: the sandbox has one time",
    "gateway ready": "asks whether there is a schema and reads no row",
    "merchant/customers look_in_the_clear": "a worker looks for what is due of all owners",
    "merchant/customers due_newcomers": "a worker looks for what is due of all owners",
    "gateway/people look_in_the_clear": "a worker looks for what is due of all owners",
    "gateway/people unsettled_people": "a worker looks for what is due of all owners",
    "merchant/cases untold_cases": "people are told of the cases of all owners",
    "merchant/late_money due_errands": "a worker looks for what is due of all owners",
    "merchant/reconciliation due_runs": "a worker looks for what is due of all owners",
    "merchant pending": "asks what is due, of all owners",
    "merchant/intake due_backfills": "a worker looks for what is due of all owners",
    "merchant/intake due_webhooks": "a worker looks for what is due of all owners",
    "merchant/expiry due_attempts": "a worker looks for what is due of all owners",
    "merchant/expiry due_orders": "a worker looks for what is due of all owners",
}
LOCKED_UNORDERED: dict[str, str] = {}

Thing = TypeVar("Thing")


class Module:
    """One module of the source: its dotted name, path and tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        parts = path.relative_to(SOURCE).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text, filename=str(path))

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """The whole tree, walked once."""
        return list(ast.walk(self.tree))

    @property
    def room(self) -> str:
        """The top folder below the package: `ports`, `kernel`, `merchant`, …"""
        return self.name.split(".")[1] if "." in self.name else ""

    @cached_property
    def imports(self) -> set[str]:
        """Dotted names of what is imported: our modules; of others' both the module and what is taken from it."""
        found: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: relative import"
                assert node.module is not None
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in files() else node.module for name in names}
                found |= names if node.module not in files() else set()
        return found


@cache
def files() -> set[str]:
    """The dotted names of our modules and packages."""
    paths = [path.relative_to(SOURCE).with_suffix("").parts for path in SOURCE.rglob("*.py")]
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in paths}


@cache
def modules() -> dict[str, Module]:
    found = [Module(path) for path in sorted(SOURCE.rglob("*.py"))]
    return {module.name: module for module in found}


def every_module() -> list[Module]:
    return list(modules().values())


def of_every(things: Callable[[], Iterable[Thing]]) -> Callable[[Callable[[Thing], None]], Callable[[], None]]:
    """Makes of the rule for one thing the test of all, which names each that breaks it. One test a rule, not one a
    thing: seven thousand would cost more than all that they look at."""

    def made(rule: Callable[[Thing], None]) -> Callable[[], None]:
        def test() -> None:
            wrong = []
            for thing in things():
                try:
                    rule(thing)
                except AssertionError as error:
                    wrong.append(f"{thing!r}: {error}")
            assert not wrong, "\n".join(wrong)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return made


def of(name: str, modules_named: set[str]) -> bool:
    """Is `name` one of the modules, or inside one of them?"""
    return any(name == module or name.startswith(module + ".") for module in modules_named)


def test_there_is_something_to_check() -> None:
    assert len(modules()) > 20
    assert sum(1 for _ in all_statements()) > 20


@of_every(every_module)
def test_imports_run_downwards(module: Module) -> None:
    if module.room not in STOREYS:
        assert module.name in {"tallystick", "tallystick.__main__"}, f"{module.name} lies in no room of the house"
        return
    for imported in module.imports:
        room = imported.split(".")[1] if imported.startswith("tallystick.") else ""
        if room in STOREYS and room != module.room:
            assert STOREYS[room] <= STOREYS[module.room], f"{module.name} imports upwards: {imported}"
            assert {room, module.room} != {"merchant", "gateway"}, (
                f"{module.name} imports {imported}: they meet over HTTP"
            )


@of_every(every_module)
def test_nothing_but_a_port_reaches_the_outside_world(module: Module) -> None:
    """No clock, randomness, socket, process or database driver outside `tallystick/ports`. DESIGN §2.4."""
    if module.room == "ports":
        return
    for what in reaches_outside(module) - (SIMULATED if module.room == "simulation" else set()):
        assert f"{module.name} {what}" in OUTSIDE_ALLOWED, f"{module.name} uses {what}: take it through a port"


@cache
def reaches_outside(module: Module) -> set[str]:
    found = set()
    for imported in module.imports:
        found |= {outside for outside in OUTSIDE_MODULES if of(imported, {outside})}
        found |= {call for call in OUTSIDE_CALLS if imported == call}
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            called = ast.unparse(node)
            found |= {call for call in OUTSIDE_CALLS if called == call or called.endswith("." + call)}
    return found


def test_every_exception_from_the_ports_is_needed() -> None:
    needed = {f"{module.name} {what}" for module in every_module() for what in reaches_outside(module)}
    assert set(OUTSIDE_ALLOWED) <= needed
    assert all(OUTSIDE_ALLOWED.values())


@of_every(lambda: sorted(PURE))
def test_pure_modules_import_pure_things(name: str) -> None:
    """The core is pure: no IO, no clock, no randomness; functions of plain frozen data. DESIGN §2.3."""
    module = modules()[name]
    for imported in module.imports:
        if imported.split(".")[0] == "tallystick":
            assert of(imported, PURE | TYPES), f"{name} imports {imported}"
        else:
            assert of(imported, PURE_LIBRARIES), f"{name} imports {imported}"
    for node in module.nodes:
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global), f"{name}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}, f"{name}:{node.lineno}"


@of_every(every_module)
def test_modules_are_nouns_of_the_domain_and_not_too_long(module: Module) -> None:
    assert not set(module.name.split(".")) & FORBIDDEN_NAMES, f"{module.name}: name the thing that it is about"
    assert module.text.count("\n") <= MODULE_LINES_MAX, f"{module.name} is two modules"
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{module.name}.{node.name} fits no screen"


@of_every(every_module)
def test_modules_and_what_they_offer_say_what_they_are_for(module: Module) -> None:
    if not module.text.strip():
        return
    assert ast.get_docstring(module.tree), f"{module.name} has no docstring"
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if module.path.name == "errors.py" and not any(isinstance(part, ast.FunctionDef) for part in node.body):
                continue  # the tree at the top of the file says what each is
            assert ast.get_docstring(node), f"{module.name}.{node.name} has no docstring"


def test_no_notes_to_self_and_no_paths_of_a_machine() -> None:
    words = re.compile("TO" + "DO|FIX" + "ME|XX" + "X:|/ro" + "ot/|/wo" + "rk/")
    for folder in ("src", "tests", "benchmarks", "docs", "scripts", "requirements"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql", ".html", ".js", ".css", ".md", ".toml", ".in", ".txt"}:
                if "node_modules" in path.parts:
                    continue
                found = words.search(path.read_text(encoding="utf-8"))
                assert found is None, f"{path.relative_to(ROOT)}: {found.group() if found else ''}"


# Secrets

SECRET_NAMES = re.compile(r"(^|_)(signature|mac|hmac|digest|secret|token|csrf|password|passwd|hexdigest|totp)s?($|_)")
COMPARED_PLAINLY: dict[str, str] = {}


@of_every(every_module)
def test_secrets_are_compared_in_constant_time(module: Module) -> None:
    """`==` stops at the first character that differs, and so tells how many were right. RULES §12."""
    found = [f"{module.name} {what}" for what in compares_secrets(module)]
    for each in found:
        assert each in COMPARED_PLAINLY, f"{each}: compare it with hmac.compare_digest"


def compares_secrets(module: Module) -> Iterator[str]:
    """Comparisons by value of what bears the name of a secret, but for those with something written in the source."""
    for node in module.nodes:
        if not isinstance(node, ast.Compare):
            continue
        for operator, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators, strict=False):
            sides = (left, right)
            by_value = isinstance(operator, ast.Eq | ast.NotEq) and not any(written(side) for side in sides)
            if by_value and any(SECRET_NAMES.search(name_of(side)) for side in sides):
                yield ast.unparse(node)


def written(node: ast.expr) -> bool:
    """A literal, or a constant's name: nothing that somebody sent or keeps."""
    return isinstance(node, ast.Constant | ast.Tuple | ast.List | ast.Set) or name_of(node).isupper()


def name_of(node: ast.expr) -> str:
    """What a value is called: `row["token_hash"]`, `self.secret`, `mac.hexdigest()`, `token.encode()`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name
        case ast.Call(func=ast.Attribute(value=inner, attr="encode" | "decode" | "strip" | "lower" | "hex")):
            return name_of(inner)
        case ast.Call(func=called):
            return name_of(called)
    return ""


def test_every_plain_comparison_is_needed() -> None:
    needed = {f"{module.name} {what}" for module in every_module() for what in compares_secrets(module)}
    assert set(COMPARED_PLAINLY) <= needed
    assert all(COMPARED_PLAINLY.values())


@pytest.mark.parametrize(
    "source",
    [
        "sent == signature",
        "row['secret'] != given",
        "mac(a) == b",
        "h.hexdigest() == sent",
        "self._token == token",
        "token.encode() == x",
    ],
)
def test_a_plain_comparison_is_noticed(source: str) -> None:
    module = Module.__new__(Module)
    module.tree = ast.parse(source)
    assert list(compares_secrets(module))


# Statements


class Written:
    """One statement as it stands in its file: the room, its name, its sentence and its text without comments."""

    def __init__(self, path: Path, chunk: str) -> None:
        self.path = path
        self.room = path.parent.relative_to(SOURCE / "tallystick").as_posix()
        comments = [line for line in chunk.split("\n") if line.startswith("--")]
        self.name = comments[0].removeprefix("--").strip() if comments else ""
        self.comment = " ".join(line.removeprefix("--").strip() for line in comments[1:])
        self.text = "\n".join(line for line in chunk.split("\n") if not line.lstrip().startswith("--")).strip()
        self.key = f"{self.room} {self.name}"

    def __repr__(self) -> str:
        return self.key


@cache
def statement_files() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.sql")) if path.parent.name != "schema"]


@cache
def all_statements() -> list[Written]:
    chunks = [
        (path, chunk.strip())
        for path in statement_files()
        for chunk in re.split(r";[ \t]*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    return [Written(path, chunk) for path, chunk in chunks if chunk]


@of_every(all_statements)
def test_a_statement_has_a_name_and_a_sentence(statement: Written) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", statement.name), f"{statement.path}: {statement.text[:60]}"
    assert re.match(r"[A-Z].*[.?]", statement.comment), f"{statement.key} needs a sentence that says what it is for"
    assert statement.text, f"{statement.key} is empty"


@of_every(statement_files)
def test_names_of_statements_are_unique_in_their_file(path: Path) -> None:
    names = [statement.name for statement in all_statements() if statement.path == path]
    assert len(names) == len(set(names))


@of_every(all_statements)
def test_a_statement_takes_time_chance_and_ids_as_parameters(statement: Written) -> None:
    forbidden = re.compile(
        r"\b(now|random|gen_random_uuid|uuidv[47]|clock_timestamp|statement_timestamp|transaction_timestamp|nextval|timeofday)"
        r"\s*\(|\b(current_(timestamp|date|time)|localtime(stamp)?|listen|notify)\b",
        re.IGNORECASE,
    )
    found = forbidden.search(statement.text)
    assert found is None, f"{statement.key}: {found.group() if found else ''}"
    assert "skip locked" not in statement.text.lower() or "SKIP LOCKED" in statement.comment, (
        f"{statement.key}: say in its comment why SKIP LOCKED is worth it here"
    )


@of_every(all_statements)
def test_every_parameter_is_cast_and_none_is_left_out(statement: Written) -> None:
    """Both drivers must see the same types. DESIGN §2.5."""
    bare = re.search(r"\$[0-9]+(?!\d|::)", statement.text)
    assert bare is None, f"{statement.key}: {bare.group() if bare else ''} without a cast"
    numbers = {int(number) for number in re.findall(r"\$([0-9]+)", statement.text)}
    assert numbers == set(range(1, len(numbers) + 1)), f"{statement.key}: parameters {sorted(numbers)}"


OF_ALL_OWNERS = {
    f"{room}/monitoring": "figures of the whole installation, by labels that name no owner"
    for room in ("kernel", "gateway", "merchant")
}


@of_every(all_statements)
def test_a_statement_begins_with_the_owner(statement: Written) -> None:
    """INSERT and COPY name the owner first, every search begins with it: so the tables can be sharded. DESIGN §2.6."""
    if statement.key in OWNER_NOT_FIRST or statement.room in OF_ALL_OWNERS:
        return
    assert not owner_missing(statement), f"{statement.key}: {owner_missing(statement)}"


def owner_missing(statement: Written) -> str:
    """What in the statement does not begin with the owner, or nothing."""
    text = statement.text
    owner = rf"(?:\w+\.)?(?:{'|'.join(OWNERS)})\b"
    inserts = re.findall(r"(?:INSERT INTO|COPY) ([\w.]+)[\w\s]*\(\s*([^,)]+)", text)
    for table, first_column in inserts:
        if first_column.strip() not in OWNERS:
            return f"INSERT INTO {table} begins with {first_column.strip()}"
    searches = len(re.findall(rf"\b(?:WHERE|ON|AND)\s*\(*\s*{owner}|\bUSING\s*\(\s*{owner}", text))
    changes = len(re.findall(r"^\s*(?:UPDATE|DELETE FROM) |\(\s*(?:UPDATE|DELETE FROM) ", text, flags=re.MULTILINE))
    if searches < changes or (not inserts and not searches):
        return "no WHERE or ON that begins with the owner"
    return ""


@of_every(all_statements)
def test_rows_are_locked_and_batches_are_read_in_order(statement: Written) -> None:
    """Two batches that lock the same rows in different orders wait for each other; a seed must replay exactly."""
    locks = re.search(r"\bFOR (NO KEY )?(UPDATE|SHARE)\b", statement.text)
    reads_many = statement.text.startswith("SELECT") and re.search(r"\b(unnest|ANY)\s*\(|\bLIMIT\b", statement.text)
    if (locks or reads_many) and statement.key not in LOCKED_UNORDERED and not only_counts(statement.text):
        assert "ORDER BY" in statement.text, statement.key


def only_counts(text: str) -> bool:
    return re.match(r"SELECT\s+(count|coalesce|sum|min|max|bool_or|exists)\s*\(", text, re.IGNORECASE) is not None


PERSONAL_DATA = {
    "merchant/customers": "behind the policy",
    "gateway/people": "behind the policy",
}


@of_every(all_statements)
def test_no_other_room_reads_or_writes_personal_data(statement: Written) -> None:
    """RULES §12: whoever wants them asks `kernel/people/access.py`, which asks the policy and writes the access log."""
    if statement.room not in PERSONAL_DATA:
        assert not re.search(r"\bpii\s*\.", statement.text, re.IGNORECASE), f"{statement.key} looks into pii"


@of_every(every_module)
def test_what_opens_personal_data_is_used_in_its_room_only(module: Module) -> None:
    """Others may know the shapes of personal data and hand them over; they hold no statement, key or seal of them."""
    rooms = {f"tallystick.{room.replace('/', '.')}" for room in (*PERSONAL_DATA, "kernel/people")}
    if any(module.name == room or module.name.startswith(f"{room}.") for room in rooms):
        return
    assert not re.search(r"\bpii\s*\.\s*(customer|subject_key|lookup|access)\b", module.text), module.name
    inside = {f"tallystick.kernel.people.{name}" for name in ("sealing", "carrying")}
    for imported in module.imports:
        assert imported not in inside, f"{module.name} imports {imported}"
    for path in statement_names(module.name).values():
        assert path.parent.relative_to(SOURCE / "tallystick").as_posix() not in PERSONAL_DATA, module.name


def test_every_exception_from_the_rules_of_statements_is_needed() -> None:
    by_key = {statement.key: statement for statement in all_statements()}
    for key, reason in OWNER_NOT_FIRST.items():
        assert reason
        assert key in by_key, f"{key} is not there any more"
        assert owner_missing(by_key[key]), f"{key} begins with the owner: take it off the list"
    assert set(LOCKED_UNORDERED) <= set(by_key)


def test_every_statement_is_used_and_every_use_exists() -> None:
    used = {(path, name) for module in every_module() for path, name in statements_used(module)}
    written = {(statement.path, statement.name) for statement in all_statements()}
    show = {(path.relative_to(SOURCE).as_posix(), name) for path, name in used ^ written}
    assert not show, f"used but not written, or written but never used: {sorted(show)}"


def statements_used(module: Module) -> Iterator[tuple[Path, str]]:
    names = statement_names(module.name)
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and (file := names.get(ast.unparse(node.value))):
            yield file, node.attr


@cache
def statement_names(module_name: str) -> dict[str, Path]:
    """What stands for a file of statements in a module: `SQL`, made or imported there, or a neighbour's `apply.SQL`."""
    module = modules()[module_name]
    found = statements_made(module_name)
    for node in module.nodes:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        for alias in node.names:
            here = alias.asname or alias.name
            if node.module in modules() and alias.name in (there := statements_made(node.module)):
                found[here] = there[alias.name]
            if (neighbour := f"{node.module}.{alias.name}") in modules():
                found |= {f"{here}.{name}": path for name, path in statements_made(neighbour).items()}
    return found


@cache
def statements_made(module_name: str) -> dict[str, Path]:
    """The names that a module itself binds: `SQL = Statements.beside(__file__)`."""
    module = modules()[module_name]
    found = {}
    for node in module.nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=called, args=[_, *more])):
                if ast.unparse(called) == "Statements.beside":
                    file_name = ast.literal_eval(more[0]) if more else "statements.sql"
                    found[name] = module.path.parent / file_name
    return found
