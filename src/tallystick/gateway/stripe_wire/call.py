"""One call on the wire: who makes it, under which key, and what it is answered. Plain frozen data."""

from collections.abc import AsyncIterator
from typing import Literal

from msgspec import Struct

from tallystick.kernel.idempotency import Claim

KeyKind = Literal["secret", "publishable"]


class Caller(Struct, frozen=True):
    """Who calls: the account and the mode of the API key, and what kind of key it was (RULES §12, DESIGN §5)."""

    account_id: str
    livemode: bool
    kind: KeyKind = "secret"
    origins: tuple[str, ...] = ()  # registered for return URLs and embedding, RULES §9

    @property
    def mode(self) -> str:
        """The mode as idempotency keys write it."""
        return "live" if self.livemode else "test"


class Call(Struct, frozen=True):
    """One call of a command. `claim` is held when the caller sent an idempotency key: whoever commits the call's result
    finishes it in the same transaction (RULES §5)."""

    caller: Caller
    request_id: str
    idempotency_key: str | None = None
    claim: Claim | None = None


class Reply(Struct, frozen=True):
    """The answer: HTTP status and the bytes of the body. The same bytes are kept for a replay, or, where they name a
    person, `kept`: sealed with the person's key (RULES §12)."""

    status: int
    body: bytes
    kept: bytes = b""

    def __repr__(self) -> str:
        return f"Reply({self.status})"


class Download(Reply, frozen=True, kw_only=True):
    """An answer that is read piece by piece, because it may be larger than memory. It is never kept for a replay."""

    content_type: str
    size_bytes: int
    pieces: AsyncIterator[bytes]
