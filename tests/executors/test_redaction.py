"""Credentials kept out of what is written and printed."""

from __future__ import annotations

import json
import logging

import pytest

from executors.redaction import RedactingFormatter, redact

SECRET = "eyJhbGciOi.J9_x-y/z+w=="


@pytest.mark.parametrize(
    "text",
    [
        f"https://host/a.root?authz={SECRET}",
        f"https://host:80/a.root?x=1&access_token={SECRET}&y=2",
        f"root://me:{SECRET.replace('/', '')}@host//store/a.root",
        "https://me:half@eyJhbGciOi@host/a.root",
        f"[3010] Unable to open /store/a.root?authz=Bearer%20{SECRET}; permission denied",
        f"authorization: Bearer {SECRET}",
        f"url=URL('https://host/a.root?X-Amz-Signature={SECRET}')",
        f"two: https://host/a?q={SECRET}, http://me:{SECRET.replace('/', '')}@host/b",
    ],
)
def test_no_credential_is_left(text):
    hidden = redact(text)
    assert "eyJ" not in hidden
    assert "***" in hidden
    assert redact(hidden) == hidden
    assert "eyJ" not in redact(json.dumps({"text": f'"{text}"'}))
    json.loads(redact(json.dumps({"text": f'"{text}"'})))


@pytest.mark.parametrize(
    "text",
    ["root://host//store/a.root", "store/**/a?.root", "a@b.ch", "tokens: 3", "what? yes: a=b"],
)
def test_other_text_stays(text):
    assert redact(text) == text


def test_log_lines_are_redacted_with_their_tracebacks():
    record = logging.LogRecord(
        "x", logging.ERROR, "f", 1, "at %s", (f"https://h/a?t={SECRET}",), None
    )
    try:
        raise OSError(f"https://h/a?t={SECRET}")  # noqa: EM102
    except OSError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = RedactingFormatter("%(message)s").format(record)
    assert "eyJ" not in line
    assert "OSError" in line
