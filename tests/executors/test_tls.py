"""Schedulers that speak TLS, and the credentials for them."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from executors.credentials import (
    TlsFiles,
    check_proxy,
    check_token,
    run_credentials,
    security_from_files,
)
from executors.dask.cluster import open_client
from executors.errors import ConfigurationError
from executors.execution import execute
from executors.inputs.fileset import from_inputs
from executors.plan import plan_fileset
from executors.settings import ExecutorSettings
from tests.executors.certificates import Authority

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("executors.dask.cluster.CONNECT_TIMEOUT", 3.0)


@pytest.mark.xdist_group("dask")
@pytest.mark.smoke
def test_a_run_over_tls_is_the_run_in_this_process(sample, counting, tls_scheduler, certificates):
    plan = plan_fileset(from_inputs(sample), chunk_size=77)
    there = ExecutorSettings("dask", scheduler=tls_scheduler, tls=certificates)
    over, here = (execute(plan, counting(), s) for s in (there, ExecutorSettings("iterative")))
    assert over.ledger.tally()[:6] == here.ledger.tally()[:6] == (6, 6, 0, 0, 380, 380)
    for name, histogram in here.accumulator["input"]["hists"].items():
        assert over.accumulator["input"]["hists"][name] == histogram


@pytest.mark.xdist_group("dask")
def test_an_authority_that_the_scheduler_does_not_know_is_refused(tls_scheduler, tmp_path):
    stranger = Authority(tmp_path / "stranger").issue()
    settings = ExecutorSettings("dask", scheduler=tls_scheduler, tls=stranger)
    with (
        pytest.raises(ConfigurationError, match="check the address and the certificates"),
        open_client(settings),
    ):
        pass


@pytest.mark.xdist_group("dask")
def test_an_unencrypted_client_is_refused(tls_scheduler):
    address = tls_scheduler.replace("tls://", "tcp://")
    with (
        pytest.raises(ConfigurationError, match="speaks TLS; try --scheduler tls:"),
        open_client(ExecutorSettings("dask", scheduler=address)),
    ):
        pass


def test_tls_without_certificates_says_which_options():
    with (
        pytest.raises(ConfigurationError, match="needs certificates; name them with --tls-ca"),
        open_client(ExecutorSettings("dask", scheduler="tls://127.0.0.1:1")),
    ):
        pass


@pytest.mark.xdist_group("dask")
def test_certificates_may_stand_in_the_configuration_of_dask(tls_scheduler, certificates):
    import dask

    ca, cert, key = map(str, certificates)
    named = {"ca-file": ca, "client.cert": cert, "client.key": key}
    with (
        dask.config.set({f"distributed.comm.tls.{key}": value for key, value in named.items()}),
        open_client(ExecutorSettings("dask", scheduler=tls_scheduler)) as client,
    ):
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f._replace(ca=f.ca.with_name("absent.pem")), "--tls-ca .* cannot be read"),
        (lambda f: f._replace(cert=f.cert.with_name("text.pem")), "--tls-cert .* no PEM file"),
        (lambda f: f._replace(key=f.key.with_name("other.pem")), "do not work together"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, change, message):
    files = Authority(tmp_path).issue()
    (tmp_path / "text.pem").write_text("hello")
    Authority(tmp_path).issue(("a.pem", "b.pem", "other.pem"))
    with pytest.raises(ConfigurationError, match=message) as caught:
        security_from_files(change(files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "dask", "scheduler": "tcp://h:1", "tls": TlsFiles(*"abc")}, "need --scheduler"),
        ({"kind": "dask", "tls": TlsFiles(*"abc")}, "need --scheduler tls://"),
    ],
)
def test_certificates_without_tls_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        ExecutorSettings(**options)


def test_the_command_line_wants_all_three_files(repository):
    command = [sys.executable, "run_processor.py", "flashsim", "--output", "/nowhere"]
    command += ["--executor", "dask", "--scheduler", "tls://h:1", "--tls-ca", "ca.pem"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--tls-ca, --tls-cert and --tls-key belong together" in done.stderr


def test_credentials_of_a_run_are_private_and_do_not_outlive_it(tmp_path):
    folder = tmp_path / "shared"
    with run_credentials(folder) as (security, files):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert security.require_encryption
        security_from_files(files)
        with run_credentials(folder) as (_, others):
            assert others.key.read_text() != files.key.read_text()
    assert list(folder.iterdir()) == []


def test_credentials_without_a_place_are_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigurationError, match="set shared_directory"),
        run_credentials(tmp_path / "file" / "below"),
    ):
        pass


def proxy(folder, lifetime):
    """A proxy as voms writes it: certificate, key, the certificate that signed it."""
    files = Authority(folder).issue(lifetime=lifetime)
    path = folder / "proxy"
    path.write_bytes(b"".join(files[part].read_bytes() for part in (1, 2, 0)))
    return path


def test_a_proxy_that_lasts_passes(tmp_path):
    check_proxy(proxy(tmp_path, timedelta(hours=2)), HOUR)


@pytest.mark.parametrize(
    ("lifetime", "message"),
    [
        (timedelta(minutes=20.5), "ends in 20 min, 60 min are needed"),
        (timedelta(hours=-1), "ended at 2"),
    ],
)
def test_a_proxy_that_ends_too_early_says_when(tmp_path, lifetime, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_proxy(proxy(tmp_path, lifetime), HOUR)
    assert "voms-proxy-init" in str(caught.value)


@pytest.mark.parametrize("kind", ["proxy", "token"])
def test_a_run_whose_credential_ends_too_early_submits_no_job(tmp_path, monkeypatch, kind):
    """What `check_proxy` and `check_token` say stops a run whose site names the file."""
    from executors.dask.cluster import open_pool
    from executors.htcondor.sites import load_site

    submit = tmp_path / "condor_submit"
    submit.write_text(f"#!/bin/sh\ntouch {tmp_path}/submitted\n")
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    soon = datetime.now(tz=UTC) + timedelta(minutes=20.5)
    file = proxy(tmp_path, timedelta(minutes=20.5))
    if kind == "token":
        file = token(tmp_path / "token", {"exp": int(soon.timestamp())})
    settings = tmp_path / "site.yaml"
    settings.write_text(f"{kind}: {file}\nshared_directory: {tmp_path}/shared\n")
    there = ExecutorSettings("htcondor", workers=1, site=load_site(str(settings)))
    with pytest.raises(ConfigurationError, match="ends in 20 min, 60"), open_pool(there):
        pass
    assert not (tmp_path / "submitted").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"hello", "no certificate"),
        (b"\xff-----END CERTIFICATE-----", "cannot be read"),
    ],
)
def test_a_proxy_that_is_none_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "proxy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_proxy(path, HOUR)
    assert "\n" not in str(caught.value)


def token(path, claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    path.write_text(f"e30.{part}.c2ln\n")
    return path


def test_a_token_is_good_for_as_long_as_it_says(tmp_path):
    now = datetime.now(tz=UTC).timestamp()
    path = tmp_path / "token"
    check_token(token(path, {"exp": int(now) + 7200}), HOUR)
    with pytest.raises(ConfigurationError, match="ends in 9 min, 60 min are needed"):
        check_token(token(path, {"exp": int(now) + 590}), HOUR)
    with pytest.raises(ConfigurationError, match="names no end"):
        check_token(token(path, {"sub": "me"}), HOUR)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check_token(token(path, ["exp"]), HOUR)
    path.write_text("opaque")
    with pytest.raises(ConfigurationError, match="no JSON Web Token"):
        check_token(path, HOUR)
