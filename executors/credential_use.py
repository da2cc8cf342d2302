"""Grid credentials that a run will use, looked at before its first chunk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from executors.credentials import check_proxy, check_token
from executors.errors import ConfigurationError

if TYPE_CHECKING:
    from executors.htcondor.sites import SiteSettings

__all__ = ["check_for_urls", "check_reaches_nodes"]

LIFETIME = timedelta(hours=1)
"""How long a credential must last where no site says anything else; as `SiteSettings` has it."""
_PROXY, _TOKEN = "X509_USER_PROXY", "BEARER_TOKEN_FILE"  # what XRootD's client reads
_OWN_DISK = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")  # of each machine its own


def check_for_urls(names: Iterable[str], needed: timedelta = LIFETIME) -> None:
    """Check the proxy or token that XRootD's client takes, where one of ``names`` is ``root://``.

    That is the token in ``$BEARER_TOKEN_FILE`` and the proxy in ``$X509_USER_PROXY``; without
    either, the proxy in the usual place, if there is one. A server may ask for none of them: then
    there need be none. What is read by ``http(s)://`` brings its credentials in the URL.

    Raises: ConfigurationError that says when it ends, or that it cannot be read.
    """
    if not any(name.startswith(("root://", "roots://")) for name in names):
        return
    token, proxy = os.environ.get(_TOKEN), os.environ.get(_PROXY)
    usual = Path(f"/tmp/x509up_u{os.getuid()}")
    try:
        if token:
            check_token(Path(token), needed)
        if proxy:
            check_proxy(Path(proxy), needed)
        elif not token and usual.exists():
            check_proxy(usual, needed)
    except ConfigurationError as error:
        # for those who have no site to set it
        text = str(error).replace(" (credential_lifetime)", "")
        msg = f"{text}, or do without where the servers ask for none (unset {_PROXY}, {_TOKEN})"
        raise ConfigurationError(msg) from error


def check_reaches_nodes(site: SiteSettings) -> None:
    """Refuse a proxy in its usual place where jobs get no files: each node has a /tmp of its own.

    A path that the site's file names is taken as it is.

    Raises: ConfigurationError saying where to put it.
    """
    path = site.proxy_path
    if site.proxy is not True or site.transfer_files or path is None:
        return
    if str(path).startswith(_OWN_DISK):
        msg = (
            f"grid proxy {path} lies on a disk of this machine alone, and jobs at {site.preset} "
            "get no files; make it where all nodes see it (voms-proxy-init ... -out $HOME/.proxy; "
            f"export {_PROXY}=$HOME/.proxy), or name such a path as proxy in the site's YAML file"
        )
        raise ConfigurationError(msg)
