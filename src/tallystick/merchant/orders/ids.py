"""An order's id, and whose order it is by its id alone."""

from typing import Final

from tallystick.kernel.identifiers import owner_of
from tallystick.merchant.accounts.commands import MERCHANT_PREFIX
from tallystick.merchant.errors import NotFound
from tallystick.merchant.requests import Call

ORDER_PREFIX: Final = "ord"


def our_order(request: Call) -> str:
    """The id in the path, if it can be one of the caller's orders. Raises NotFound."""
    order_id: str = request.path_params["order_id"]
    if not order_id.startswith(f"{ORDER_PREFIX}_") or owner_of(order_id, MERCHANT_PREFIX) != request.auth.merchant_id:
        raise NotFound
    return order_id
