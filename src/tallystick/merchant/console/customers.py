"""Customers as pages: found by what they say, seen field by field as the policy grants it, erased (RULES §12).

Nothing here reads personal data by itself: everything goes through `kernel/people/access.py`, which asks the policy and
writes the access log, also of what is denied. What is found is shown by ids alone.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.people.access import Access, AccessDenied, Asker, Unreadable
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.people.operating import Purpose
from tallystick.kernel.problems import FieldsRefused
from tallystick.merchant.console.merchants import Merchants, Scope, is_merchant_id
from tallystick.merchant.customers.api import SearchCustomers, is_customer_id, searched
from tallystick.merchant.customers.tables import of_merchant

CUSTOMERS: Final = "/console/customers"
SEARCH: Final = f"POST {CUSTOMERS}/search"
ERASE: Final = "POST /console/merchants/{merchant}/customers/{customer}/erase"
PURPOSES: Final = (
    ("support", "to help the shopper"),
    ("invoice", "for an invoice"),
    ("delivery", "to deliver"),
    ("data_request", "the person asks for their data"),
)
USUAL: Final[Mapping[Role, str]] = {
    Role.SUPPORT: "support",
    Role.FINANCE: "invoice",
    Role.FULFILMENT: "delivery",
    Role.ADMIN: "support",
}
"""What a role is there for, offered first."""
ACCESSES_ROWS: Final = 50
AUDIT: Final = "audit"
ERASING: Final = (
    "The key of this person is destroyed: nobody can read their data any more, in backups neither. "
    "Orders and payments stay."
)

_ACCESS = re.compile(r"acc_[0-9A-Za-z]{25}")


class CustomerPages(msgspec.Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    access: Access

    async def ask(self, request: BrowserRequest) -> Html:
        """The form by which people are found."""
        return self._asked(request, await self.merchants.scope(request))

    async def search(self, request: BrowserRequest) -> Html:
        """Who is known by an e-mail address or a phone number."""
        fields = await self.merchants.console.fields(request) or {}
        return await self.find(request, fields.get("merchant", ""), fields.get("sought", ""), fields.get("purpose", ""))

    async def find(self, request: BrowserRequest, merchant_id: str, sought: str, purpose: str) -> Html:
        """The same, for whichever form asked. What was sought is not shown again."""
        scope = await self.merchants.scope(request)
        scope = Scope(merchant_id if is_merchant_id(merchant_id) else scope.id, scope.known)
        if not self.merchants.console.may(request.auth, SEARCH):
            return self._asked(request, scope, 403, "Your role does not find people by what they are called.")
        kind = "email" if "@" in sought else "phone"
        purpose = purpose or USUAL.get(request.auth.role, "")
        try:
            msgspec.convert(purpose, Purpose)
            asked = msgspec.convert({kind: sought, "purpose": purpose}, SearchCustomers)
            known = await self.access.search(_asker(request), purpose, of_merchant(scope.id), *searched(asked))
        except (msgspec.ValidationError, FieldsRefused):
            return self._asked(request, scope, 422, "That is neither an e-mail address nor a phone number.")
        except AccessDenied:
            return self._asked(request, scope, 403, "The policy does not grant that. It is in the access log.")
        return self._asked(request, scope, found=known)

    async def show(self, request: BrowserRequest) -> Html:
        """What the policy grants of a customer, once a purpose is said."""
        scope, customer_id = await self.merchants.scope(request), request.path_params["customer"]
        if not scope.id or not is_customer_id(customer_id):
            return self.merchants.console.problem(404, request.auth)
        purpose = request.query_params.get("purpose", "")
        if not purpose:
            return self._customer(request, scope, customer_id)
        try:
            msgspec.convert(purpose, Purpose)
            shown = await self.access.read(_asker(request), purpose, of_merchant(scope.id), customer_id)
        except msgspec.ValidationError:
            return self._customer(request, scope, customer_id, 422, "There is no such purpose.")
        except AccessDenied:
            words = "The policy does not grant that. It is in the access log."
            return self._customer(request, scope, customer_id, 403, words, purpose=purpose)
        except (KeysUnavailable, Unreadable):
            words = "The keys for personal data cannot be had, or what is stored cannot be opened."
            return self._customer(request, scope, customer_id, 503, words, purpose=purpose)
        if shown is None:
            return self.merchants.console.problem(404, request.auth)
        return self._customer(request, scope, customer_id, purpose=purpose, fields=shown.fields)

    async def erase(self, request: BrowserRequest) -> Html:
        """Forget a person, asked for twice. What was paid stays."""
        console, scope = self.merchants.console, await self.merchants.scope(request)
        customer_id, fields = request.path_params["customer"], await console.fields(request) or {}
        if not scope.id or not is_customer_id(customer_id):
            return console.problem(404, request.auth)
        back = f"/console/merchants/{scope.id}/customers/{customer_id}"
        if fields.get("confirmed") != "yes":
            shown: dict[str, Any] = {
                "heading": "Erase this customer?",
                "words": ERASING,
                "action": f"{back}/erase",
                "kept": {"confirmed": "yes"},
                "button": "Erase for ever",
            }
            return self.merchants.page("sure", request, "Erase", scope, back=back, about=customer_id, **shown)
        try:
            erased = await self.access.erase(_asker(request), "data_request", of_merchant(scope.id), customer_id)
        except AccessDenied:
            return console.problem(403, request.auth, "The policy does not grant that. It is in the access log.")
        return console.see_other(back) if erased else console.problem(404, request.auth)

    async def accesses(self, request: BrowserRequest) -> Html:
        """Who looked at whose data; that somebody looks here is in it too."""
        scope, before = await self.merchants.scope(request), request.query_params.get("cursor", "")
        customer = request.query_params.get("customer", "")
        if not scope.id or (before and not _ACCESS.fullmatch(before)):
            return self.merchants.console.problem(404, request.auth)
        try:
            lines = await self.access.log(
                _asker(request),
                AUDIT,
                of_merchant(scope.id),
                customer if is_customer_id(customer) else None,
                before=before or None,
                limit=ACCESSES_ROWS + 1,
            )
        except AccessDenied:
            return self.merchants.console.problem(403, request.auth, "The policy does not grant that.")
        shown = lines[:ACCESSES_ROWS]
        cursor = shown[-1].id if len(lines) > ACCESSES_ROWS else None
        kept = {"merchant": scope.id} | ({"customer": customer} if customer else {})
        return self.merchants.page(
            "accesses", request, "Access log", scope, lines=shown, cursor=cursor, kept=kept, at=before
        )

    def _asked(
        self, request: BrowserRequest, scope: Scope, status: int = 200, problem: str = "", found: Any = None
    ) -> Html:
        shown = {"purposes": PURPOSES, "usual": USUAL.get(request.auth.role, ""), "problem": problem, "found": found}
        return self.merchants.page("customers", request, "Customers", scope, status=status, **shown)

    def _customer(
        self,
        request: BrowserRequest,
        scope: Scope,
        customer_id: str,
        status: int = 200,
        problem: str = "",
        *,
        purpose: str = "",
        fields: Any = None,
    ) -> Html:
        shown: dict[str, Any] = {
            "customer": customer_id,
            "purposes": PURPOSES,
            "purpose": purpose or USUAL.get(request.auth.role, ""),
            "problem": problem,
            "fields": fields,
            "erasable": self.merchants.console.may(request.auth, ERASE),
            "orders": urlencode({"customer": customer_id, "merchant": scope.id}),
        }
        return self.merchants.page("customer", request, f"Customer {customer_id}", scope, status=status, **shown)


def _asker(request: BrowserRequest) -> Asker:
    """Who looks, as the policy knows them."""
    return Asker("operator", request.auth.name, request.auth.role)
