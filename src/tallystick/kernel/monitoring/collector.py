"""The collector of traces, as settings name it: where it is, and what it asks for."""

from urllib.parse import urlsplit


class CollectorRefused(ValueError):
    """No collector can be asked like this; the text says why, and shows no value."""


def check_collector(url: str, headers: str) -> None:
    """Raises CollectorRefused where spans could not be sent there."""
    if url:
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            named = False
        if not named or parts.username is not None or parts.password is not None:
            raise CollectorRefused("it must be an address such as https://collector.example/v1/traces")
    headers_of(headers)


def headers_of(text: str) -> dict[str, str]:
    """`name=value` pairs, separated by commas, as OpenTelemetry's exporters take them. Raises CollectorRefused."""
    headers = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        well_formed = name.replace("-", "").isalnum() and name.isascii() and value.isascii() and value.isprintable()
        if not equals or not well_formed:
            raise CollectorRefused("headers are name=value, separated by commas")
        headers[name] = value
    return headers
