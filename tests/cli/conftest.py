"""Fixtures of the command line's tests."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def in_a_thread() -> Callable[..., Awaitable[Any]]:
    """Calls a function that runs a loop of its own, as commands do."""
    return asyncio.to_thread
