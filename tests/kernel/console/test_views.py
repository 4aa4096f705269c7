"""The pages of operators as bytes, before anybody has asked for one."""

import pickle
from collections.abc import Callable
from typing import Any

import jinja2
import pytest

from tallystick.gateway.console.routes import console_views as of_gateway
from tallystick.kernel.console.views import ConsoleViews
from tallystick.merchant.console.routes import console_views as of_merchant


def broken(*_: Any, **__: Any) -> Any:
    raise AssertionError("the visitor waits for it")


@pytest.mark.parametrize("views_of", [of_gateway, of_merchant])
def test_no_visitor_waits_for_a_template(views_of: Callable[[], ConsoleViews], monkeypatch: pytest.MonkeyPatch) -> None:
    """All are compiled when a service is built, and how amounts are written is read by then."""
    environment = views_of()._environment
    monkeypatch.setattr(jinja2.Environment, "compile", broken)
    monkeypatch.setattr(pickle, "load", broken)  # babel keeps what it knows of a language so
    names = environment.list_templates()
    assert {"layout.html", "overview.html", "audit.html"} <= set(names)
    for name in names:
        environment.get_template(name)
    assert environment.filters["money"](2500, "EUR") == "€25.00"


def test_a_service_that_is_built_again_compiles_nothing() -> None:
    assert of_gateway() is of_gateway()
    assert of_merchant() is of_merchant()
