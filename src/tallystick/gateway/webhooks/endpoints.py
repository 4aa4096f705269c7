"""The commands of webhook endpoints: where an account wants to hear of its events (RULES §6, §12).

Whether an address may be called is asked here for a clear answer, and again at every dial, which is the guard.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Struct

from tallystick.gateway.stripe_wire import errors, objects, webhook_objects
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.gateway.stripe_wire.parameters import Parameters, merged_metadata
from tallystick.gateway.webhooks.parameters import CreateEndpoint, RollSecret, UpdateEndpoint
from tallystick.gateway.webhooks.rotation import new_secret, roll_secrets
from tallystick.kernel.addresses import UrlRefused, address_allowed, check_url
from tallystick.kernel.columns import columns
from tallystick.kernel.delivery import keeper
from tallystick.kernel.delivery.protocol import EndpointKey
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

KIND: Final = "webhook_endpoint"
NOUN: Final = "webhook endpoint"
ENDPOINTS_MAX: Final = 16
"""Of one account in one mode, as Stripe's; every event is signed and sent as often as there are endpoints for it."""

ENABLED: Final = "enabled"
DISABLED: Final = "disabled"


class Names(Protocol):
    """Looks names up."""

    async def addresses_of(self, host: str) -> Sequence[str]:
        """Every address of `host`; raises OSError when there is none now."""
        ...


class Endpoint(Struct, frozen=True, kw_only=True):
    """A row of `webhook_endpoint` as its owner sees it: without the secrets. `metadata` is JSON text."""

    account_id: str
    livemode: bool
    id: str
    url: str
    status: str
    enabled_events: tuple[str, ...]
    api_version: str | None
    description: str | None
    metadata: str
    created_at: datetime


Key = tuple[str, bool, str]
Answers = list[Reply | WireError]


class Endpoints:
    """Create, update and delete endpoints, and roll their secrets. One bad item never fails its neighbours."""

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        clock: Clock,
        entropy: Entropy,
        *,
        names: Names | None = None,
        loopback: bool = False,
    ) -> None:
        """`names` looks hosts up when an endpoint is registered (None: only dialling does); `loopback` is the
        development setting that lets this machine's own addresses through."""
        self._database = database
        self._idempotency = idempotency
        self._clock = clock
        self._entropy = entropy
        self._names = names
        self._loopback = loopback

    async def create(self, items: Sequence[tuple[Call, CreateEndpoint]]) -> Answers:
        """New endpoints, enabled. The answer is the one place where the secret is shown."""
        at = self._clock.now()
        refusals = await asyncio.gather(*(self._refusal(sent.url) for _, sent in items))
        answers: list[Reply | WireError] = []
        made: list[tuple[Endpoint, str]] = []
        async with self._database.transaction() as tx:
            counts = await self._counts(tx, [call for call, _ in items])
            for (call, sent), refusal in zip(items, refusals, strict=True):
                owner = (call.caller.account_id, call.caller.livemode)
                if refusal is None and counts[owner] >= ENDPOINTS_MAX:
                    refusal = errors.InvalidRequest(
                        f"You have reached the maximum of {ENDPOINTS_MAX} webhook endpoints."
                    )
                if refusal is not None:
                    answers.append(refusal)
                    continue
                counts[owner] += 1
                endpoint, secret = self._made(call, sent, at), new_secret(self._entropy)
                made.append((endpoint, secret))
                answers.append(_reply(endpoint, secret))
            if made:
                await tx.execute(SQL.insert_endpoints, *columns(11, [(*_row(one), secret) for one, secret in made]))
            await self._finish(tx, [call for call, _ in items], answers)
        return answers

    async def update(self, items: Sequence[tuple[Call, str, UpdateEndpoint]]) -> Answers:
        """Change endpoints. One that is disabled parks its deliveries; a new address is checked like a first one."""
        refusals = await asyncio.gather(
            *(self._refusal(sent.url) if isinstance(sent.url, str) else _nothing() for _, _, sent in items)
        )
        answers: list[Reply | WireError] = []
        async with self._database.transaction() as tx:
            present = await self._locked(tx, [_key(call, id) for call, id, _ in items])
            before = dict(present)
            changed: set[Key] = set()
            for (call, id, sent), refusal in zip(items, refusals, strict=True):
                key = _key(call, id)
                if key not in present:
                    answers.append(errors.no_such(NOUN, id))
                elif refusal is not None:
                    answers.append(refusal)
                else:
                    present[key] = _updated(present[key], sent)
                    changed.add(key)
                    answers.append(_reply(present[key]))
            if changed:
                await tx.execute(SQL.save_endpoints, *columns(10, [_row(present[key]) for key in sorted(changed)]))
                await self._hold_or_release(tx, [(before[key], present[key]) for key in sorted(changed)])
            await self._finish(tx, [call for call, _, _ in items], answers)
        return answers

    async def delete(self, items: Sequence[tuple[Call, str, Parameters]]) -> Answers:
        """Delete endpoints. What was still due to them becomes a dead letter."""
        answers: list[Reply | WireError] = []
        async with self._database.transaction() as tx:
            present = await self._locked(tx, [_key(call, id) for call, id, _ in items])
            if present:
                at = self._clock.now()
                await tx.execute(SQL.delete_endpoints, *columns(3, sorted(present)), at)
                await keeper.release(tx, [EndpointKey(*key) for key in sorted(present)], at=at)
            for call, id, _ in items:
                found = present.pop(_key(call, id), None)  # of two calls that delete it, one finds it
                deleted = Reply(200, msgspec.json.encode(objects.deleted(KIND, id)))
                answers.append(deleted if found is not None else errors.no_such(NOUN, id))
            await self._finish(tx, [call for call, _, _ in items], answers)
        return answers

    async def roll_secret(self, items: Sequence[tuple[Call, str, RollSecret]]) -> Answers:
        """A new signing secret, shown in the answer; the present one signs beside it for the overlap. RULES §6."""
        answers: list[Reply | WireError] = []
        async with self._database.transaction() as tx:
            overlaps_s = {_key(call, id): sent.overlap_s for call, id, sent in items}
            present = await self._locked(tx, list(overlaps_s))
            wanted = {key: overlap_s for key, overlap_s in overlaps_s.items() if key in present}
            secrets = await roll_secrets(tx, wanted, at=self._clock.now(), entropy=self._entropy)
            for call, id, _ in items:
                key = _key(call, id)
                answers.append(_reply(present[key], secrets[key]) if key in present else errors.no_such(NOUN, id))
            await self._finish(tx, [call for call, _, _ in items], answers)
        return answers

    async def _hold_or_release(self, tx: Transaction, changes: Sequence[tuple[Endpoint, Endpoint]]) -> None:
        """A disabled endpoint's deliveries are held in this commit; those of an enabled one come back, gradually."""
        at = self._clock.now()
        turned = [after for before, after in changes if before.status != after.status]
        for status, what_follows in ((DISABLED, keeper.hold), (ENABLED, keeper.release)):
            keys = [EndpointKey(one.account_id, one.livemode, one.id) for one in turned if one.status == status]
            if keys:
                await what_follows(tx, keys, at=at)

    async def _refusal(self, url: str) -> WireError | None:
        """Why `url` may not be an endpoint, or None. A name that has no address yet may get one."""
        try:
            target = check_url(url, loopback=self._loopback)
        except UrlRefused as refused:
            return _url_refused(str(refused))
        if target.literal or self._names is None:
            return None
        try:
            addresses = await self._names.addresses_of(target.host)
        except OSError:
            return None
        if all(address_allowed(address, loopback=self._loopback) for address in addresses):
            return None
        return _url_refused("its host has an address that is not public")

    def _made(self, call: Call, sent: CreateEndpoint, at: datetime) -> Endpoint:
        metadata = merged_metadata({}, sent.metadata)
        return Endpoint(
            account_id=call.caller.account_id,
            livemode=call.caller.livemode,
            id=new_id("we", at, self._entropy),
            url=sent.url,
            status=ENABLED,
            enabled_events=tuple(sent.enabled_events),
            api_version=sent.api_version,
            description=sent.description or None,
            metadata=msgspec.json.encode(metadata).decode(),
            created_at=at,
        )

    async def _counts(self, tx: Transaction, calls: Sequence[Call]) -> Counter[tuple[str, bool]]:
        """How many endpoints each has, which stays so until the end of the transaction."""
        owners = sorted({(call.caller.account_id, call.caller.livemode) for call in calls})
        await tx.rows(SQL.lock_accounts, sorted({account_id for account_id, _ in owners}))
        rows = await tx.rows(SQL.count_endpoints, *columns(2, owners))
        return Counter({(row["account_id"], row["livemode"]): row["endpoints"] for row in rows})

    async def _locked(self, tx: Transaction, keys: Sequence[Key]) -> dict[Key, Endpoint]:
        rows = await tx.rows(SQL.lock_endpoints, *columns(3, sorted(set(keys))))
        found = [Endpoint(**{**row, "enabled_events": tuple(row["enabled_events"])}) for row in rows]
        return {(one.account_id, one.livemode, one.id): one for one in found}

    async def _finish(self, tx: Transaction, calls: Sequence[Call], answers: Answers) -> None:
        kept = [
            (call.claim, answer.status, answer.body)
            for call, answer in zip(calls, answers, strict=True)
            if isinstance(answer, Reply)
        ]
        await self._idempotency.finish(tx, kept)


def _updated(endpoint: Endpoint, sent: UpdateEndpoint) -> Endpoint:
    changes: dict[str, Any] = {}
    if isinstance(sent.url, str):
        changes["url"] = sent.url
    if isinstance(sent.enabled_events, list):
        changes["enabled_events"] = tuple(sent.enabled_events)
    if isinstance(sent.disabled, bool):
        changes["status"] = DISABLED if sent.disabled else ENABLED
    if isinstance(sent.description, str):
        changes["description"] = sent.description or None
    if sent.metadata is not UNSET:
        metadata = merged_metadata(msgspec.json.decode(endpoint.metadata), sent.metadata)
        changes["metadata"] = msgspec.json.encode(metadata).decode()
    return msgspec.structs.replace(endpoint, **changes)


def _reply(endpoint: Endpoint, secret: str | None = None) -> Reply:
    shown = webhook_objects.webhook_endpoint(
        id=endpoint.id,
        livemode=endpoint.livemode,
        url=endpoint.url,
        status=endpoint.status,
        enabled_events=endpoint.enabled_events,
        created_at=endpoint.created_at,
        api_version=endpoint.api_version,
        description=endpoint.description,
        metadata=endpoint.metadata,
        secret=secret,
    )
    return Reply(200, msgspec.json.encode(shown))


def _row(endpoint: Endpoint) -> tuple[Any, ...]:
    return (
        endpoint.account_id,
        endpoint.livemode,
        endpoint.id,
        endpoint.url,
        endpoint.status,
        msgspec.json.encode(endpoint.enabled_events).decode(),
        endpoint.api_version,
        endpoint.description,
        endpoint.metadata,
        endpoint.created_at,
    )


def _key(call: Call, id: str) -> Key:
    return (call.caller.account_id, call.caller.livemode, id)


def _url_refused(sentence: str) -> WireError:
    return errors.invalid("url", f"Invalid URL: {sentence}.", "url_invalid")


async def _nothing() -> None:
    return None
