"""Commands of HTCondor for tests: they start each job at once, on this machine, as a process."""

from __future__ import annotations

import os
import signal

SUBMIT = """#!/bin/sh
# fails for the jobs whose numbers, or `all`, stand in `failing`
cd {folder} || exit
number=1
until mkdir job-$number 2>/dev/null; do number=$((number + 1)); done
if grep -qx -e $number -e all failing; then
    printf 'Submitting job(s)\\n\\nERROR: Failed to connect to local queue manager\\n' >&2
    echo 'SECMAN:2007' >&2
    exit 1
fi
for file; do :; done
command=$(sed -n "s/^Arguments = \\"-c '\\(.*\\)'\\"\\$/\\1/p" "$file")
export _CONDOR_SCRATCH_DIR={folder}/job-$number
setsid sh -c "$command" >job-$number/log 2>&1 &
echo $! >job-$number/pid
echo "1 job(s) submitted to cluster $number."
"""

QUEUE = """#!/bin/sh
cd {folder} || exit
for file in job-*/pid; do
    [ -e "$file" ] && kill -0 "$(cat "$file")" 2>/dev/null || continue
    number=${{file#job-}}
    printf '%s.0\\t2\\tundefined\\n' "${{number%/pid}}"
done
"""

REMOVE = """#!/bin/sh
cd {folder} || exit
case $1 in
    -constraint) files=$(ls job-*/pid) ;;
    *) files=job-${{1%.0}}/pid ;;
esac
for file in $files; do kill -- -"$(cat "$file")" 2>/dev/null; done
exit 0
"""

TEXTS = {"condor_submit": SUBMIT, "condor_q": QUEUE, "condor_rm": REMOVE}


class Commands:
    """The commands, in a folder for the PATH."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        for name, text in TEXTS.items():
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)
        self.fail()

    def fail(self, *numbers):
        """Let these jobs, counted from 1, not be submitted; "all" for every one."""
        (self.folder / "failing").write_text("".join(f"{number}\n" for number in numbers))

    @property
    def tried(self):
        """How often a job was to be submitted."""
        return len(list(self.folder.glob("job-*")))

    def environment(self):
        return os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"}

    def stop(self):
        """End what is left of the jobs."""
        for path in self.folder.glob("job-*/pid"):
            try:
                os.killpg(int(path.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                continue
