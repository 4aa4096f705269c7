"""What `expand[]` may name: a table of the members that hold another object's id, as Stripe documents them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tallystick.gateway.stripe_wire import errors

DEPTH_MAX = 4  # Stripe's limit
PATHS_MAX = 20
PATH_CHARACTERS_MAX = 200

Tree = dict[str, "Tree"]

EXPANDABLE: Mapping[str, Mapping[str, str | None]] = {
    "payment_intent": {
        "latest_charge": "charge",
        "payment_method": "payment_method",
        "application": None,
        "customer": "customer",
        "on_behalf_of": None,
        "review": None,
        "source": None,
    },
    "charge": {
        "payment_intent": "payment_intent",
        "payment_method": "payment_method",
        "application": None,
        "application_fee": None,
        "balance_transaction": "balance_transaction",
        "customer": "customer",
        "failure_balance_transaction": None,
        "on_behalf_of": None,
        "review": None,
        "source_transfer": None,
    },
    "refund": {
        "charge": "charge",
        "payment_intent": "payment_intent",
        "balance_transaction": "balance_transaction",
        "customer": None,
        "failure_balance_transaction": "balance_transaction",
        "payment_method": None,
        "source_transfer_reversal": None,
        "transfer_reversal": None,
    },
    "payment_method": {"customer": "customer"},
    "customer": {},
    "checkout.session": {
        "payment_intent": "payment_intent",
        "line_items": "line_items",
        "customer": "customer",
        "invoice": None,
        "payment_link": None,
        "setup_intent": None,
        "subscription": None,
    },
    "balance_transaction": {"source": "source"},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "payout": {
        "balance_transaction": "balance_transaction",
        "destination": None,
        "failure_balance_transaction": None,
        "original_payout": None,
        "reversed_by": None,
    },
    "reporting.report_run": {},
    "reporting.report_type": {},
    "file": {},
    "source": {},
    "balance": {},
    "event": {},
    "webhook_endpoint": {},
    "item": {},
}
"""Kind of object → member → kind of what it names; None where the member is always null here."""


def checked(kind: str, paths: Sequence[str], *, listed: bool = False) -> Tree:
    """The paths of `expand[]` as a tree, or an error for one that names nothing. In a list they begin with `data`."""
    if len(paths) > PATHS_MAX:
        raise errors.invalid("expand", f"You can expand at most {PATHS_MAX} properties in one request.")
    tree: Tree = {}
    for number, path in enumerate(paths):
        param = f"expand[{number}]"
        if len(path) > PATH_CHARACTERS_MAX:
            raise errors.invalid(param, "This property cannot be expanded.")
        names = path.split(".")
        if listed:
            if names[0] != "data" or len(names) == 1:
                raise _not_expandable(param, path, f"data.{path}")
            names = names[1:]
        if len(names) > DEPTH_MAX:
            raise errors.invalid(
                param, f"You cannot expand more than {DEPTH_MAX} levels of a property ({errors.shown(path)})."
            )
        _grow(tree, kind, names, param, path)
    return tree


def may_name(paths: Sequence[str], kind: str) -> bool:
    """Whether one of the paths could lead to objects of this kind, whose members bear its name."""
    return any(kind in path.split(".") for path in paths)


def places(shaped: dict[str, Any], tree: Tree, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Where ids of this kind stand in an object that is filled along the tree otherwise: in which object, as which."""
    for name, below in tree.items():
        value = shaped.get(name)
        if EXPANDABLE[shaped["object"]].get(name) == kind:
            if isinstance(value, str):
                yield shaped, name
        elif isinstance(value, dict) and value.get("object") in EXPANDABLE:
            yield from places(value, below, kind)


def _grow(tree: Tree, kind: str | None, names: Sequence[str], param: str, path: str) -> None:
    for name in names:
        if kind is None:
            return  # beyond a member that is always null
        known = EXPANDABLE.get(kind, {})
        if name not in known:
            raise _not_expandable(param, path, None)
        kind = known[name]
        if kind is not None:
            tree = tree.setdefault(name, {})


def _not_expandable(param: str, path: str, instead: str | None) -> errors.InvalidRequest:
    advice = f" You may want to try expanding '{errors.shown(instead)}' instead." if instead else ""
    return errors.invalid(param, f"This property cannot be expanded ({errors.shown(path)}).{advice}")
