"""What tests of runs share."""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from executors.report.build import SCHEMA

LOCAL = ("--executor", "iterative")


def read(output):
    report = json.loads((output / "report.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return report
