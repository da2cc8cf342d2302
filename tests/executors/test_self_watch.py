"""How often Dask processes look at themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from executors.self_watch import as_environment, self_watch

READ = """
import json, sys
import dask, distributed
print(json.dumps([dask.config.get(name) for name in sys.argv[1:]]))
"""


def test_dask_reads_what_its_environment_says():
    wanted = self_watch(often=False)
    mine = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    for told in (wanted, {}):
        found = subprocess.run(
            [sys.executable, "-c", READ, *wanted],
            env=mine | as_environment(told),
            capture_output=True,
            text=True,
            check=True,
        )
        same = [a == b for a, b in zip(json.loads(found.stdout), wanted.values(), strict=True)]
        assert same == [bool(told)] * len(wanted)
