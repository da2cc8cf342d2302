"""The executor of coffea-casa, against a TLS scheduler at another address."""

from __future__ import annotations

import pytest

from executors.dask.casa import SECRETS_VARIABLE
from executors.dask.cluster import open_client
from executors.errors import ConfigurationError
from executors.execution import execute
from executors.inputs.fileset import from_inputs
from executors.plan import plan_fileset
from executors.settings import CASA_ADDRESS, CASA_VARIABLE, ExecutorSettings

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture
def casa(monkeypatch, tls_scheduler, certificates):
    monkeypatch.setenv(CASA_VARIABLE, tls_scheduler)
    monkeypatch.setenv(SECRETS_VARIABLE, str(certificates.ca.parent))
    return tls_scheduler


def test_a_run_finds_address_and_certificates(sample, counting, casa, monkeypatch):
    import distributed

    def restart(*_, **__):
        pytest.fail("client.restart() leaves coffea-casa without workers")

    monkeypatch.setattr(distributed.Client, "restart", restart)
    plan = plan_fileset(from_inputs(sample), chunk_size=77)
    settings = ExecutorSettings("casa")
    assert settings.scheduler == casa
    result = execute(plan, counting(), settings)
    assert result.error is None
    assert result.ledger.tally()[:6] == (6, 6, 0, 0, 380, 380)


def test_the_workers_are_still_there_after_a_run(sample, counting, casa):
    plan = plan_fileset(from_inputs(sample), chunk_size=200)
    settings = ExecutorSettings("casa")
    with open_client(settings) as client:
        before = set(client.scheduler_info()["workers"])
    execute(plan, counting(), settings)
    with open_client(settings) as client:
        assert set(client.scheduler_info()["workers"]) == before


def test_without_a_variable_it_is_the_address_of_the_notebooks(monkeypatch):
    monkeypatch.delenv(CASA_VARIABLE, raising=False)
    assert ExecutorSettings("casa").scheduler == CASA_ADDRESS == "tls://localhost:8786"


def test_elsewhere_than_in_coffea_casa_it_is_one_sentence(monkeypatch):
    monkeypatch.setenv(SECRETS_VARIABLE, "/nowhere")
    with (
        pytest.raises(ConfigurationError, match="runs inside coffea-casa, or set FLASHBREW_CASA"),
        open_client(ExecutorSettings("casa")),
    ):
        pass


def test_a_missing_certificate_is_named(casa, monkeypatch, tmp_path):
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    with (
        pytest.raises(ConfigurationError, match=r"ca\.pem cannot be read"),
        open_client(ExecutorSettings("casa")),
    ):
        pass


def test_another_kind_of_address_is_refused(monkeypatch):
    monkeypatch.setenv(CASA_VARIABLE, "localhost:8786")
    with pytest.raises(ConfigurationError, match="must look like"):
        ExecutorSettings("casa")


def test_one_file_may_hold_certificate_and_key(
    sample, counting, casa, certificates, monkeypatch, tmp_path
):
    (tmp_path / "ca.pem").write_bytes(certificates.ca.read_bytes())
    both = certificates.cert.read_bytes() + certificates.key.read_bytes()
    (tmp_path / "hostcert.pem").write_bytes(both)
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    with open_client(ExecutorSettings("casa")) as client:
        assert client.nthreads()
