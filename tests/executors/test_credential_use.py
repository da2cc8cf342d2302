"""Credentials that a run will use."""

from __future__ import annotations

from datetime import timedelta

import pytest

from executors.credential_use import LIFETIME, check_for_urls, check_reaches_nodes
from executors.errors import ConfigurationError
from executors.htcondor.sites import SiteSettings, load_site
from tests.executors.test_tls import proxy, token

URL = "root://host//store/a.root"


@pytest.fixture(autouse=True)
def nothing(monkeypatch):
    for name in ("X509_USER_PROXY", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)


@pytest.fixture
def short(tmp_path):
    return proxy(tmp_path, timedelta(minutes=20.5))


def test_the_lifetime_is_that_of_a_site():
    assert SiteSettings().credential_lifetime == LIFETIME


def test_servers_may_ask_for_nothing():
    check_for_urls([URL])


def test_a_proxy_that_ends_too_early_is_refused_where_it_is_used(short, monkeypatch):
    monkeypatch.setenv("X509_USER_PROXY", str(short))
    check_for_urls(["/data/a.root", "https://host/a.root"])
    with pytest.raises(ConfigurationError) as caught:
        check_for_urls(["/data/a.root", URL])
    assert "ends in 20 min, 60 min are needed; make one with" in str(caught.value)
    assert "unset X509_USER_PROXY" in str(caught.value)
    check_for_urls([URL], timedelta(minutes=10))


def test_a_token_that_ended_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token(tmp_path / "token", {"exp": 1})))
    with pytest.raises(ConfigurationError, match="ended at 1970"):
        check_for_urls([URL])


def test_the_usual_place_is_looked_at(short, monkeypatch):
    monkeypatch.setattr("executors.credential_use.Path", lambda name: short)
    with pytest.raises(ConfigurationError, match="ends in 20 min"):
        check_for_urls([URL])


def test_a_proxy_that_nodes_do_not_see_is_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="/tmp/x509up_u987654 lies on a disk of this mach"):
        check_reaches_nodes(load_site("rwth"))
    for site in ("lpc", "lxplus", "generic"):
        check_reaches_nodes(load_site(site))
    monkeypatch.setenv("X509_USER_PROXY", "/home/me/.proxy")
    check_reaches_nodes(load_site("rwth"))
    check_reaches_nodes(SiteSettings(proxy="/tmp/proxy"))
