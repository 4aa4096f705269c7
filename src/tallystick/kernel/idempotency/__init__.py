"""Idempotency: one engine under every write of both services (RULES §5)."""

from tallystick.kernel.idempotency.engine import (
    Claim,
    ClaimRequest,
    Idempotency,
    InUse,
    LeaseLost,
    Mismatch,
    Replay,
    Running,
    Scope,
)
from tallystick.kernel.idempotency.key import KeyInvalid, fingerprint, fingerprints, parse_key

__all__ = [
    "Claim",
    "ClaimRequest",
    "Idempotency",
    "InUse",
    "KeyInvalid",
    "LeaseLost",
    "Mismatch",
    "Replay",
    "Running",
    "Scope",
    "fingerprint",
    "fingerprints",
    "parse_key",
]
