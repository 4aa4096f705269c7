"""The gateway that SDKs speak to."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest


@pytest.fixture
def gateway(run_gateway: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """A whole gateway with its workers, an acquirer without delay, webhooks to loopback."""
    with run_gateway() as running:
        yield running
