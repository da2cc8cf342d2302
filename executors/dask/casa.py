"""Credentials for the Dask scheduler of coffea-casa."""

from __future__ import annotations

import os
from pathlib import Path

from distributed import Security

from executors.credentials import TlsFiles, security_from_configuration, security_from_files
from executors.errors import ConfigurationError
from executors.settings import ExecutorSettings

__all__ = ["casa_security"]

SECRETS = "/etc/cmsaf-secrets"
"""Where coffea-casa mounts ca.pem, hostcert.pem and, where that does not hold it, hostkey.pem."""
SECRETS_VARIABLE = "FLASHBREW_CASA_SECRETS"


def casa_security(settings: ExecutorSettings) -> Security:
    """Credentials for the scheduler of coffea-casa.

    Those of ``--tls-...``, else the mounted ones, else those of Dask's configuration.

    Raises: ConfigurationError where there are none.
    """
    if settings.tls is not None:
        return security_from_files(settings.tls)
    folder = Path(os.environ.get(SECRETS_VARIABLE) or SECRETS)
    if folder.is_dir():
        certificate, key = folder / "hostcert.pem", folder / "hostkey.pem"
        # newer deployments mount one file with both
        return security_from_files(
            TlsFiles(folder / "ca.pem", certificate, key if key.exists() else certificate)
        )
    security = security_from_configuration()
    if security is None:
        msg = (
            f"no certificates for {settings.scheduler}: {folder} is not there and Dask's "
            "configuration names none; --executor casa runs inside coffea-casa, or set "
            f"{SECRETS_VARIABLE}"
        )
        raise ConfigurationError(msg)
    return security
