"""What is said of an address where something answers that is no scheduler."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import distributed
import pytest

from executors.dask import address as module
from executors.dask.cluster import open_client
from executors.errors import ConfigurationError
from executors.settings import ExecutorSettings

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("executors.dask.cluster.CONNECT_TIMEOUT", 3.0)
    monkeypatch.setattr(module, "LOOK", 0.5)


def refused(address, **more):
    """What a run says of an address, within seconds."""
    started = time.monotonic()
    settings = ExecutorSettings("dask", scheduler=address, **more)
    with pytest.raises(ConfigurationError) as caught, open_client(settings):
        pass
    assert time.monotonic() - started < 15
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_web_server_is_no_scheduler():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        text = refused(address)
        server.shutdown()
    assert text.startswith(f"something answers at {address} that is no Dask scheduler; is it the")


def test_the_dashboard_is_no_scheduler(scheduler):
    with distributed.Client(scheduler, set_as_default=False) as client:
        port = client.scheduler_info()["services"]["dashboard"]
    assert "is it the port of the dashboard?" in refused(f"tcp://127.0.0.1:{port}")


def test_something_silent_is_no_scheduler(certificates):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        assert "that is no Dask scheduler" in refused(f"tcp://{place}")
        assert "that is no Dask scheduler" in refused(f"tls://{place}", tls=certificates)


def test_a_scheduler_with_tls_wants_the_other_scheme(tls_scheduler):
    text = refused(tls_scheduler.replace("tls://", "tcp://"))
    assert f"speaks TLS; try --scheduler {tls_scheduler}, with --tls-ca" in text


def test_a_scheduler_without_tls_wants_the_other_scheme(scheduler, certificates):
    text = refused(scheduler.replace("tcp://", "tls://"), tls=certificates)
    assert f"speaks no TLS; try --scheduler {scheduler}, where" in text


def test_a_worker_is_no_scheduler(scheduler):
    with distributed.Client(scheduler, set_as_default=False) as client:
        worker = next(iter(client.scheduler_info()["workers"]))
    assert "a Worker of Dask answers at tcp://" in refused(worker)
