"""Who answers at the address of a scheduler, asked before a client waits for it."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Literal

import distributed
from distributed.comm.addressing import get_address_host_port
from distributed.core import rpc
from distributed.utils import LoopRunner, sync

from executors.errors import ConfigurationError, first_line

__all__ = ["check_scheduler"]

LOOK = 2.0  # seconds for a look at what answers instead of a scheduler; chosen
_LONGEST_GREETING = 1_000  # parts of Dask's first message; it has a handful

Answer = Literal["nothing", "dask", "tls", "other"]


def check_scheduler(address: str, security: distributed.Security | None, patience: float) -> None:
    """Ask whether a Dask scheduler listens at an address.

    A client waits without end for the greeting of something that accepts connections and is none.

    Arguments:
        address: ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
        security: Credentials, None without TLS.
        patience: Seconds that the answer may take.
    Raises: ConfigurationError that says what is there instead, and what to try.
    """
    runner = LoopRunner()
    runner.start()
    try:
        kind = sync(runner.loop, _ask, address, security, callback_timeout=patience)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise ConfigurationError(_complaint(address, security, error)) from error
    finally:
        runner.stop()
    if kind != "Scheduler":
        msg = f"a {kind} of Dask answers at {address}; name its scheduler instead"
        raise ConfigurationError(msg)


async def _ask(address: str, security: distributed.Security | None) -> str:
    """Kind of Dask's server at an address."""
    arguments = (security or distributed.Security()).get_connection_args("client")
    async with rpc(address, connection_args=arguments) as remote:
        identity: dict[str, Any] = await remote.identity()
    return str(identity["type"])


def _complaint(address: str, security: distributed.Security | None, error: Exception) -> str:
    """One sentence about what is there in place of a scheduler that this client can speak to."""
    scheme, _, place = address.partition("://")
    found = _answer(address)
    if found == "tls" and scheme == "tcp":
        return (
            f"what answers at {address} speaks TLS; try --scheduler tls://{place}, with --tls-ca, "
            "--tls-cert and --tls-key"
        )
    if found == "dask" and scheme == "tls":
        return (
            f"the Dask scheduler at {address} speaks no TLS; try --scheduler tcp://{place}, "
            "where whoever reaches it can run code in your name"
        )
    if found == "other":
        return (
            f"something answers at {address} that is no Dask scheduler; is it the port of the "
            "dashboard? --scheduler takes the address that the scheduler calls its own"
        )
    checks = "the address and the certificates" if security else "the address"
    return f"no Dask scheduler answers at {address} ({first_line(error)}); check {checks}"


def _answer(address: str) -> Answer:
    """What listens at an address."""
    try:
        place = get_address_host_port(address, strict=True)
        with socket.create_connection(place, LOOK) as connection:
            if _greets_like_dask(connection):
                return "dask"
        return "tls" if _speaks_tls(place) else "other"
    except (OSError, ValueError):
        return "nothing"


def _greets_like_dask(connection: socket.socket) -> bool:
    """Whether the other side speaks first, and of a few parts, as each of Dask's servers does."""
    connection.settimeout(LOOK)
    try:
        first = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(first) == 8 and int.from_bytes(first, "little") < _LONGEST_GREETING


def _speaks_tls(place: tuple[str, int]) -> bool:
    """Whether the other side answers a TLS greeting in kind; nothing is sent over it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(place, LOOK) as connection:
            context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)  # it refuses us, in TLS
    except OSError:
        return False
    return True
