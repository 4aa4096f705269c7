"""The rules in `policies/` keep what their own tests promise, and say the same in both engines (RULES §12)."""

import itertools
import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import regorus

from tallystick.ports.policy import Policy, RegoPolicy

FOLDER = Path(__file__).parents[2] / "policies"
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.rego"))}
TESTS = re.findall(r"^(test_\w+)", SOURCES["pii_test.rego"], re.MULTILINE)

KINDS = ("operator", "service", "person", "")
ROLES = ("support", "finance", "fulfilment", "auditor", "admin", "shop", "checkout", "reconciliation", "")
ACTIONS = ("read", "search", "erase", "audit", "write", "")
PURPOSES = ("support", "invoice", "delivery", "data_request", "checkout", "audit", "curiosity", "")
FIELDS: tuple[Any, ...] = (["email"], ["address"], ["name", "phone"], ["access_log"], [], "email", None)


def asked_of_the_server(url: str, decision: str, question: Any) -> Any:
    """What `POST /v1/data/…` answers, whole."""
    body = json.dumps({"input": question}).encode()
    request = urllib.request.Request(f"{url}/v1/data/{decision}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5.0) as answer:
        return json.load(answer)


def test_there_are_rules_and_tests_of_them() -> None:
    assert "pii.rego" in SOURCES
    assert len(TESTS) >= 15


@pytest.mark.parametrize("test", TESTS)
def test_a_rule_of_the_tests_holds_in_this_process(test: str) -> None:
    engine = regorus.Engine()
    for name, source in SOURCES.items():
        engine.add_policy(name, source)
    engine.set_input_json("{}")
    assert engine.eval_rule(f"data.pii_test.{test}") is True


@pytest.mark.parametrize("test", TESTS)
def test_a_rule_of_the_tests_holds_in_opa(test: str, opa_url: str) -> None:
    assert asked_of_the_server(opa_url, f"pii_test/{test}", {}) == {"result": True}


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on the PATH")
def test_opa_itself_runs_the_tests() -> None:
    subprocess.run(["opa", "test", str(FOLDER)], check=True)


async def test_both_engines_answer_every_question_alike(opa_url: str) -> None:
    """All roles, actions, purposes and fields there are, and some that there are not."""
    here = RegoPolicy.of_folder(FOLDER, "pii/access")
    granted = 0
    questions = list(itertools.product(KINDS, ROLES, ACTIONS, PURPOSES))
    for number, (kind, role, action, purpose) in enumerate(questions):
        fields = FIELDS[number % len(FIELDS)]
        question = {
            "subject": {"kind": kind, "name": "somebody", "role": role},
            "action": action,
            "purpose": purpose,
            "fields": fields,
        }
        ruling = await here.rule(question)
        if ruling.allowed or number % 17 == 0:  # each that is granted, and a sample of the rest
            assert asked_of_the_server(opa_url, "pii/access", question) == {"result": ruling.allowed}, question
        granted += ruling.allowed
    assert 0 < granted < len(questions) / 10


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        ({"kind": "operator", "role": "support", "purpose": "support", "fields": ["name"]}, True),
        ({"kind": "operator", "role": "support", "purpose": "", "fields": ["name"]}, False),
        ({"kind": "operator", "role": "support", "purpose": "support", "fields": ["name", "address"]}, False),
        ({"kind": "service", "role": "reconciliation", "purpose": "support", "fields": ["name"]}, False),
        ({"kind": "service", "role": "shop", "purpose": "delivery", "fields": ["address"]}, True),
    ],
)
async def test_a_question_is_answered_through_the_port(policy: Policy, question: dict[str, Any], allowed: bool) -> None:
    subject = {"kind": question["kind"], "name": "somebody", "role": question["role"]}
    asked = {"subject": subject, "action": "read", "purpose": question["purpose"], "fields": question["fields"]}
    ruling = await policy.rule(asked)
    assert (ruling.allowed, ruling.reason) == (allowed, "" if allowed else "policy")
