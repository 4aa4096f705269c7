"""Certificates: how long they live, whether the key is theirs, whether each signs the one before, for which host."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tallystick.cli.doctor.findings import Notes
from tallystick.cli.doctor.settings import check_file

SOON: Final = timedelta(days=21)  # time enough to get another one, also over holidays
RENEW: Final = "Get a new certificate, and put it into the same files."


def check_certificate(notes: Notes, prefix: str, cert_file: str, key_file: str, host: str, at: datetime) -> None:
    """The certificate that a service serves with."""
    subject = f"{prefix}TLS_CERT_FILE"
    chain = read_certificates(notes, subject, cert_file)
    if not chain:
        return
    check_life(notes, subject, chain[0], at)
    if not covers(chain[0], host):
        do = f"Get one for {host}, or set {prefix}PUBLIC_URL to a name that it is for."
        notes.bad("certificate", subject, f"it is not for {host}", do)
    _check_chain(notes, subject, chain)
    _check_key(notes, f"{prefix}TLS_KEY_FILE", chain[0], key_file)


def read_certificates(notes: Notes, subject: str, file: str) -> list[x509.Certificate]:
    """What stands in a PEM file; nothing where it cannot be read, which is noted."""
    try:
        return x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        do = "Name a PEM file with the certificate first and those that sign it after it."
        notes.bad("certificate", subject, f"its file holds no certificate: {type(error).__name__}", do)
        return []


def check_life(notes: Notes, subject: str, certificate: x509.Certificate, at: datetime) -> None:
    """Whether a certificate is valid now, and for a while."""
    ends = certificate.not_valid_after_utc
    if at >= ends:
        notes.bad("certificate", subject, f"it has expired on {ends:%Y-%m-%d}", RENEW)
    elif at < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        notes.bad("certificate", subject, f"it is not valid before {begins:%Y-%m-%d}", "Set this machine's clock.")
    elif ends - at < SOON:
        notes.warning("certificate", subject, f"it expires on {ends:%Y-%m-%d}", RENEW)
    else:
        notes.good("certificate", subject, f"valid until {ends:%Y-%m-%d}")


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate is for this host name or address."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    wanted = host.lower()
    above = f"*.{wanted.partition('.')[2]}"
    return any(name.lower() in (wanted, above) for name in names.get_values_for_type(x509.DNSName))


def _check_chain(notes: Notes, subject: str, chain: Sequence[x509.Certificate]) -> None:
    for signed, signer in pairwise(chain):
        try:
            signed.verify_directly_issued_by(signer)
        except (ValueError, TypeError, InvalidSignature):
            do = "Put the certificates into the file in their order: first the service's, then who signs it, and so on."
            notes.bad("certificate", subject, "its chain is broken: one is not signed by the next", do)
            return


def _check_key(notes: Notes, subject: str, certificate: x509.Certificate, key_file: str) -> None:
    check_file(notes, subject, Path(key_file))
    try:
        key = load_pem_private_key(Path(key_file).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        do = "Name the private key's PEM file, without a passphrase."
        notes.bad("certificate", subject, f"its file holds no key: {type(error).__name__}", do)
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        notes.bad("certificate", subject, "the key is not the certificate's", "Name the key that it was made with.")
    else:
        notes.good("certificate", subject, "the key is the certificate's")
