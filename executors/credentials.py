"""Keys, certificates, proxies and tokens: found, made for one run, their lifetimes checked."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from executors.errors import ConfigurationError, first_line
from executors.private_folders import private_folder

if TYPE_CHECKING:
    from distributed import Security

__all__ = [
    "TlsFiles",
    "check_proxy",
    "check_token",
    "run_credentials",
    "security_from_configuration",
    "security_from_files",
]

_CERTIFICATE_END = b"-----END CERTIFICATE-----"


class TlsFiles(NamedTuple):
    """PEM files of one side of a TLS connection: authority, own certificate, own key."""

    ca: Path
    cert: Path
    key: Path


def security_from_files(files: TlsFiles) -> Security:
    """Dask's description of a connection that both sides prove themselves on.

    Raises: ConfigurationError naming the file that is missing, unreadable or no PEM file.
    """
    from distributed import Security

    for option, path in zip(("--tls-ca", "--tls-cert", "--tls-key"), files):
        try:
            content = path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            msg = f"{option} {path} cannot be read ({reason}); name a PEM file"
            raise ConfigurationError(msg) from error
        if "-----BEGIN " not in content:
            msg = f"{option} {path} is no PEM file; it must hold a -----BEGIN line"
            raise ConfigurationError(msg)
    ca, cert, key = (str(path) for path in files)
    security = Security(
        require_encryption=True,
        tls_ca_file=ca,
        tls_client_cert=cert,
        tls_client_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
    )
    _prove(security, files)
    return security


def security_from_configuration() -> Security | None:
    """What Dask's own configuration says of TLS for clients; None where it says nothing."""
    from distributed import Security

    security = Security(require_encryption=True)
    found = security.get_tls_config_for_role("client")
    return security if found["ca_file"] and found["cert"] else None


def _prove(security: Security, files: TlsFiles) -> None:
    """Load what the files hold; a key that fits another certificate would fail later, unnamed."""
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:
        msg = (
            f"{files.cert} and {files.key} do not work together ({first_line(error)}); "
            "name a certificate with its own key"
        )
        raise ConfigurationError(msg) from error


@contextmanager
def run_credentials(directory: Path) -> Iterator[tuple[Security, TlsFiles]]:
    """Make a key and a certificate that are good for one run and removed after it.

    They lie below ``directory``, which the workers must see, in a folder that only the user can
    enter; each file has mode 0600 from the start. What killed runs left there is removed.

    Raises: ConfigurationError where the directory cannot be written.
    """
    from distributed import Security

    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder(directory))
        except OSError as error:
            msg = (
                f"credentials cannot be written below {directory} ({error.strerror}); "
                "set shared_directory to one that this machine and the workers can read"
            )
            raise ConfigurationError(msg) from error
        security = Security.temporary()
        made = security.get_tls_config_for_role("worker")
        files = TlsFiles(*(folder / f"{part}.pem" for part in TlsFiles._fields))
        for path, key in zip(files, ("ca_file", "cert", "key")):
            _write_private(path, made[key])
        yield security, files


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def check_proxy(path: Path, needed: timedelta) -> None:
    """Check that a grid proxy lasts.

    The certificates of the chain are looked at, the first to end decides. Whether a server
    accepts it is not asked.

    Raises: ConfigurationError that says when it ends, or that it cannot be read.
    """
    from cryptography import x509

    remedy = "make one with: voms-proxy-init -rfc -voms VO -valid 192:00"
    try:
        blocks = path.read_bytes().split(_CERTIFICATE_END)[:-1]
        chain = [x509.load_pem_x509_certificate(block + _CERTIFICATE_END) for block in blocks]
    except (OSError, ValueError) as error:
        msg = f"grid proxy {path} cannot be read ({first_line(error)}); {remedy}"
        raise ConfigurationError(msg) from error
    if not chain:
        msg = f"grid proxy {path} holds no certificate; {remedy}"
        raise ConfigurationError(msg)
    _check_end(f"grid proxy {path}", min(one.not_valid_after_utc for one in chain), needed, remedy)


def check_token(path: Path, needed: timedelta) -> None:
    """Check that a bearer token (JSON Web Token) lasts; its signature is not looked at.

    Raises: ConfigurationError that says when it ends, or that it cannot be read.
    """
    remedy = "get a new one (htgettoken, oidc-token)"
    try:
        end = _claims(path.read_text(encoding="ascii").strip())["exp"]
        moment = datetime.fromtimestamp(float(end), tz=UTC)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, binascii.Error) as error:
        reason = "it names no end" if isinstance(error, KeyError) else first_line(error)
        msg = f"token {path} cannot be read ({reason}); {remedy}"
        raise ConfigurationError(msg) from error
    _check_end(f"token {path}", moment, needed, remedy)


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        msg = "it is no JSON Web Token"
        raise ValueError(msg)
    payload = parts[1] + "=" * (-len(parts[1]) % 4)
    claims = json.loads(base64.urlsafe_b64decode(payload))
    if not isinstance(claims, dict):
        msg = "its claims are no object"
        raise ValueError(msg)
    return claims


def _check_end(what: str, end: datetime, needed: timedelta, remedy: str) -> None:
    left = end - datetime.now(tz=UTC)
    if left >= needed:
        return
    minutes = int(left.total_seconds() // 60)
    state = f"ends in {minutes} min" if minutes >= 0 else f"ended at {end:%Y-%m-%d %H:%M} UTC"
    wanted = int(needed.total_seconds() // 60)
    msg = f"{what} {state}, {wanted} min are needed (credential_lifetime); {remedy}"
    raise ConfigurationError(msg)
