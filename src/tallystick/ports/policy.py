"""The policy port: may this be done? Answered by Rego rules, in this process or by an Open Policy Agent (RULES §12).

    RegoPolicy      in this process: the rules of a folder, by the regorus engine; tens of microseconds
    OpaPolicy       an OPA server: `POST /v1/data/pii/access`, as its REST API is documented; fails closed

Anything but the answer `true` denies, and so does every fault: no answer in time, a status other than 200, a body
without `result`. A ruling says why it denies, for the access log; it never raises.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import regorus
from msgspec import Struct

from tallystick.ports.http import Answered, Http, HttpRequest, NotSent

log = logging.getLogger(__name__)

OPA_DEADLINE_S: Final = 0.25  # a decision takes a server microseconds; who waits for it holds a person's call open
POLICY_BYTES_MAX: Final = 256 * 1024  # a policy is text for people; protects against a wrong path
ANSWER_BYTES_MAX: Final = 16 * 1024  # true or false, and what a server adds of its own
TESTS: Final = "_test.rego"

Question = Mapping[str, Any]
"""What a rule reads as `input`: plain JSON, and never a person's data."""


class Ruling(Struct, frozen=True):
    """Whether it may be done; `reason` says in a word why not."""

    allowed: bool
    reason: str = ""


GRANTED: Final = Ruling(True)
DENIED: Final = Ruling(False, "policy")
FAULTY: Final = Ruling(False, "policy_faulty")
UNREACHABLE: Final = Ruling(False, "policy_unreachable")
UNCLEAR: Final = Ruling(False, "policy_unclear")


Sources = tuple[tuple[str, str], ...]
_ENGINES = threading.local()


class PolicyInvalid(Exception):
    """The rules cannot be used. Says which file and why."""


class Policy(Protocol):
    """Decides."""

    async def rule(self, question: Question) -> Ruling:
        """The ruling on `question`. Never raises for what the rules or a server do."""
        ...


class RegoPolicy:
    """Rules decided in this process. `decision` is the rule's path, such as `pii/access`.

    An engine belongs to the thread that made it, and must end there too: so every thread has its own, one for all
    policies of the same text, and keeps it.
    """

    def __init__(self, sources: Mapping[str, str], decision: str) -> None:
        self._sources = tuple(sources.items())
        self._rule = "data." + decision.replace("/", ".")
        try:
            self._engine().eval_rule(self._rule)  # a rule that is not there is told now, not at the first question
        except RuntimeError as error:
            raise PolicyInvalid(_first_lines(error)) from None

    @classmethod
    def of_folder(cls, folder: Path, decision: str) -> "RegoPolicy":
        """The rules in `folder`, their tests left out. Raises PolicyInvalid."""
        return cls(read_policies(folder), decision)

    async def rule(self, question: Question) -> Ruling:
        engine = self._engine()
        try:
            engine.set_input_json(msgspec.json.encode(question).decode())
            answer = engine.eval_rule(self._rule)
        except RuntimeError as error:
            log.error("a policy could not be evaluated: %s", type(error).__name__)
            return FAULTY
        return GRANTED if answer is True else DENIED

    def _engine(self) -> Any:
        engines: dict[Sources, Any] = _ENGINES.__dict__.setdefault("by_sources", {})
        engine = engines.get(self._sources)
        if engine is None:
            engine = regorus.Engine()
            for name, source in self._sources:
                engine.add_policy(name, source)
            engine.set_input_json("{}")
            engines[self._sources] = engine
        return engine


class OpaPolicy:
    """Rules decided by a server that speaks OPA's REST API. `url` is its origin, `token` a bearer token if it asks for
    one. Give it a client of its own: one that knows the server's authority and whose connections nobody else uses up.
    """

    def __init__(self, http: Http, url: str, decision: str, token: str = "") -> None:
        self._http = http
        self._url = f"{url.rstrip('/')}/v1/data/{decision}"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    async def rule(self, question: Question) -> Ruling:
        body = msgspec.json.encode({"input": question})
        request = HttpRequest("POST", self._url, self._headers, body, OPA_DEADLINE_S, ANSWER_BYTES_MAX)
        match await self._http.send(request):
            case Answered(status=200, body=told, cut=False):
                return _ruling(told)
            case Answered():
                return FAULTY
            case NotSent():
                return UNREACHABLE
            case _:
                return UNCLEAR


def read_policies(folder: Path) -> dict[str, str]:
    """The texts of a folder's policies by file name, tests left out. Raises PolicyInvalid."""
    sources: dict[str, str] = {}
    for path in sorted(folder.glob("*.rego")):
        if path.name.endswith(TESTS):
            continue
        try:
            with path.open(encoding="utf-8") as file:
                sources[path.name] = file.read(POLICY_BYTES_MAX + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyInvalid(f"{path.name} cannot be read: {type(error).__name__}") from None
        if len(sources[path.name]) > POLICY_BYTES_MAX:
            raise PolicyInvalid(f"{path.name} is longer than {POLICY_BYTES_MAX} characters")
    if not sources:
        raise PolicyInvalid(f"no policies (*.rego) in {folder}")
    return sources


def _ruling(body: bytes) -> Ruling:
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return FAULTY
    if not isinstance(told, dict):
        return FAULTY
    # A server that does not know the rule answers 200 without `result`.
    return GRANTED if told.get("result") is True else DENIED if "result" in told else FAULTY


def _first_lines(error: Exception, lines: int = 5) -> str:
    """The engine's own words without its stack."""
    told: Sequence[str] = str(error).partition("Stack backtrace")[0].strip().splitlines()
    return "; ".join(line.strip() for line in told[:lines])
