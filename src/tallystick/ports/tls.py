"""TLS: what servers that we call are verified by, and what we serve.

We serve a certificate out of files, which is taken up anew when they change, while connections go on. A context that
has served is never changed. Files are read into a new one, which has to be whole (a certificate, its chain and the key
to it), and the next handshake is given that; a key that is still being written is not taken, and the old certificate
serves on. RULES §12.
"""

import ssl
from functools import cache
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 10.0  # at the files; SIGHUP looks at once

Stamp = tuple[tuple[int, int, int], ...]


@cache
def verifying(ca_file: str | None) -> ssl.SSLContext:
    """What servers that we call are verified by: this machine's authorities, or those of `ca_file`. One for all clients
    of a process, since reading a hundred authorities takes longer than an order does. Raises OSError, ssl.SSLError.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CertificateRefused(Exception):
    """The files hold no certificate with its key. The text names no content."""


class ServedCertificate:
    """The certificate of a server, as it stands in two PEM files. `context` is what the server is given."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """Raises CertificateRefused."""
        self._files = (Path(cert_file), Path(key_file))
        self._stamp = self._looked_at()
        self._newest = self._read()
        self.context = self._read()
        self.context.sni_callback = self._handshake

    def take_up(self) -> bool:
        """Serve what the files hold now, where they have changed; whether they had. Raises CertificateRefused, and then
        the old one serves on until they change again."""
        stamp = self._looked_at()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._newest = self._read()
        return True

    def _handshake(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, with or without a name in it."""
        connection.context = self._newest

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        cert_file, key_file = self._files
        try:
            context.load_cert_chain(cert_file, key_file)
        except (OSError, ValueError) as error:
            raise CertificateRefused(
                f"{cert_file} and {key_file} hold no certificate with its key ({type(error).__name__})"
            ) from None
        return context

    def _looked_at(self) -> Stamp:
        """What changes when the files do; a file that is missing is a change too."""
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
