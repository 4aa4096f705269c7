"""The settings of personal data, which both services have, and what must be true of them together."""

from typing import Annotated, Final, Protocol

from msgspec import Meta

from tallystick.kernel.addresses import UrlRefused, check_own_url
from tallystick.kernel.settings import SettingsRefused

INDEX_KEY_CHARACTERS_MIN: Final = 32  # of random text; fewer could be tried out

PiiDsn = Annotated[
    str,
    Meta(
        description="The same database as the role that may read personal data; empty: as the service's own role. A "
        "secret.",
        extra={"secret": True},
    ),
]
PiiKeyFile = Annotated[
    str,
    Meta(
        description="The file with the key-encryption keys of personal data, as `customers keys` makes it; empty: what "
        "names a customer is refused, unless Vault's transit wraps the keys."
    ),
]
PiiIndexKey = Annotated[
    str,
    Meta(
        description="The key of the hashes by which customers are found, 32 characters or more; empty: what names a "
        "customer is refused. A secret.",
        extra={"secret": True},
    ),
]
PiiIndexKeyBefore = Annotated[
    str,
    Meta(
        description="The key before this one, by which customers are found too until `customers reindex` has gone "
        "through them; empty: none. A secret.",
        extra={"secret": True},
    ),
]
PolicyFolder = Annotated[
    str,
    Meta(description="The Rego policies (*.rego) that say who may see which personal data; empty: those built in."),
]
PolicyUrl = Annotated[
    str,
    Meta(
        description="The origin of an Open Policy Agent that decides instead, such as https://opa.internal:8181; "
        "empty: the service decides itself."
    ),
]
PolicyToken = Annotated[
    str,
    Meta(
        description="The bearer token that the Open Policy Agent asks for; empty: none. A secret.",
        extra={"secret": True},
    ),
]


class PersonalSettings(Protocol):
    """What a service's settings say of personal data."""

    @property
    def ca_file(self) -> str: ...
    @property
    def pii_dsn(self) -> str: ...
    @property
    def pii_key_file(self) -> str: ...
    @property
    def pii_index_key(self) -> str: ...
    @property
    def pii_index_key_before(self) -> str: ...
    @property
    def wraps_with(self) -> str: ...
    @property
    def policy_folder(self) -> str: ...
    @property
    def policy_url(self) -> str: ...
    @property
    def policy_token(self) -> str: ...


def index_keys(settings: PersonalSettings) -> tuple[bytes, ...]:
    """The keys of the search hashes, the newest first."""
    return tuple(key.encode() for key in (settings.pii_index_key, settings.pii_index_key_before) if key)


def check(settings: PersonalSettings, prefix: str) -> None:
    """Whether these settings fit one another. Raises SettingsRefused."""
    for name in ("pii_index_key", "pii_index_key_before"):
        if 0 < len(getattr(settings, name)) < INDEX_KEY_CHARACTERS_MIN:
            raise SettingsRefused(f"{prefix}{name.upper()}: has less than {INDEX_KEY_CHARACTERS_MIN} characters")
    if settings.pii_key_file and not settings.pii_index_key:
        raise SettingsRefused(f"{prefix}PII_INDEX_KEY is not set, and personal data need it beside their key file")
    if settings.pii_index_key_before and settings.pii_index_key_before == settings.pii_index_key:
        raise SettingsRefused(f"{prefix}PII_INDEX_KEY_BEFORE: is the same key as {prefix}PII_INDEX_KEY")
    if settings.policy_url:
        try:
            check_own_url(settings.policy_url)
        except UrlRefused as refused:
            raise SettingsRefused(f"{prefix}POLICY_URL: {refused}") from None
