"""What a browser posts, read without trusting it. Pure."""

from urllib.parse import parse_qsl

BODY_BYTES_MAX = 8 * 1024  # a card needs a few hundred bytes
FIELDS_MAX = 16  # our forms have a few; extensions of browsers add some
FORM_MEDIA_TYPE = "application/x-www-form-urlencoded"
SAME_SITE = (None, "same-origin", "none")  # Sec-Fetch-Site of what our own pages send; older browsers send none


class FormUnreadable(ValueError):
    """The body is not a form, or has far more fields than ours."""


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form, by name; of a name that comes twice the first. Raises FormUnreadable."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="replace")
    except ValueError:
        # Not `from`: the cause's text could repeat what was sent.
        raise FormUnreadable("the body is not a form that this page sends") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value.strip())
    return fields
