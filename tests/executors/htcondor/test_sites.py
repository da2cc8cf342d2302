"""Settings of sites, and what is submitted for them."""

from __future__ import annotations

import datetime
import subprocess
import sys

import pytest

from executors.errors import ConfigurationError
from executors.htcondor.sites import PRESETS, SiteSettings, load_site
from executors.settings import ExecutorSettings

# the lines of each preset that decide whether a job runs there
IMPORTANT = {
    "generic": [
        "should_transfer_files = NO",
        "allowed_job_duration = 28800",
        "--dashboard-address 127.0.0.1:0",
        "--protocol tls://",
        "--tls-key RUN/key.pem",
        "--lifetime 28200s",
        "stream_output = True",
    ],
    "lxplus": [
        "MY.MaxRuntime = 28800",
        "MY.IsDaskWorker = True",
        "should_transfer_files = YES",
        "transfer_input_files = RUN/ca.pem, RUN/cert.pem, RUN/key.pem",
        "x509userproxy = /tmp/proxy",
        "python3 -m distributed.cli.dask_worker",
        "--worker-port 10000:10100",
        "--tls-key key.pem",
        "output_destination = root://eosuser.cern.ch//eos/user/m/muon/.flashbrew/logs",
        "error = worker-$(ClusterId).$(ProcId).err",
    ],
    "lpc": [
        "RequestMemory = floor(MY.DaskWorkerMemory / 1048576)",
        "MY.DaskWorkerMemory = 2000000000",
        "should_transfer_files = YES",
        "transfer_input_files = RUN/ca.pem, RUN/cert.pem, RUN/key.pem",
        "x509userproxy = /tmp/proxy",
        "--worker-port 10000:10070 --nanny-port 10070:10100",
        "--tls-ca-file ca.pem",
        "error = /home/muon/.flashbrew/logs/worker-$(ClusterId).$(ProcId).err",
    ],
    "rwth": [
        "should_transfer_files = NO",
        "x509userproxy = /tmp/proxy",
        "ulimit -s unlimited; ",
        f"{sys.executable} -m distributed.cli.dask_worker",
        "--tls-ca-file RUN/ca.pem",
    ],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("X509_USER_PROXY", "/tmp/proxy")
    monkeypatch.setenv("LOGNAME", "muon")
    monkeypatch.setenv("HOME", "/home/muon")
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)


def described(site, *, watched=False, **options):
    from executors.htcondor.job import submit_description

    settings = ExecutorSettings("htcondor", workers=2, site=site, **options)
    return submit_description(settings, watched=watched)


def written(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    return str(path)


def refusal(tmp_path, text):
    with pytest.raises(ConfigurationError) as caught:
        load_site(written(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert "site.yaml" in message
    return message


def test_every_preset_has_its_lines():
    assert set(PRESETS) == set(IMPORTANT)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_submitted_as_their_sites_want_it(name):
    text = described(load_site(name))
    for line in IMPORTANT[name]:
        assert line in text
    assert "GPU" not in text
    assert text.rstrip().endswith("Queue")


def test_jobs_look_at_themselves_often_only_for_a_report():
    seldom = "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False"
    assert seldom in described(load_site("generic"))
    assert "DASK_DISTRIBUTED" not in described(load_site("generic"), watched=True)


def test_a_gpu_job_is_one_worker_that_announces_its_readers(tmp_path):
    site = load_site(written(tmp_path, "preset: rwth\nrequest_gpus: 1\nreaders: 6\ncores: 4\n"))
    text = described(site)
    assert "request_gpus = 1" in text
    assert "MY.DaskWorkerCores = 4" in text
    assert "--nthreads 6 " in text
    assert "--resources GPU=6" in text
    assert "--nworkers" not in text
    assert "FLASHBREW_THREADS=4" in text


def test_a_token_is_where_the_jobs_can_read_it(tmp_path):
    shared = described(load_site(written(tmp_path, "token: /nfs/me/token\n")))
    assert "export BEARER_TOKEN_FILE=/nfs/me/token; " in shared
    assert "transfer_input_files" not in shared
    carried = described(load_site(written(tmp_path, "preset: lpc\ntoken: /run/me/token\n")))
    assert "export BEARER_TOKEN_FILE=$_CONDOR_SCRATCH_DIR/token; " in carried
    keys = "RUN/ca.pem, RUN/cert.pem, RUN/key.pem"
    assert f"transfer_input_files = {keys}, /run/me/token" in carried
    assert "BEARER_TOKEN_FILE" not in described(load_site("lpc"))


@pytest.mark.parametrize(
    ("style", "line"),
    [
        ("container", "container_image = /cvmfs/image:1"),
        ("singularity", 'MY.SingularityImage = "/cvmfs/image:1"'),
    ],
)
def test_images_are_asked_for_in_either_way(tmp_path, style, line):
    text = f"image: /cvmfs/image:1\nimage_style: {style}\n"
    assert line in described(load_site(written(tmp_path, text)))


def test_directives_of_a_user_come_last_and_text_of_attributes_is_quoted(tmp_path):
    text = """
    preset: lxplus
    accounting_group: group_u_CMS.u_zh
    walltime: 90m
    log_directory: /eos/home-m/muon/logs
    directives: {MY.JobFlavour: workday, request_cpus: 3, +Wants: true}
    """
    lines = described(load_site(written(tmp_path, text))).splitlines()
    for line in (
        'MY.JobFlavour = "workday"',
        "request_cpus = 3",
        "+Wants = True",
        "accounting_group = group_u_CMS.u_zh",
        "MY.MaxRuntime = 5400",
        "output_destination = root://eosuser.cern.ch//eos/user/m/muon/logs",
        "output = worker-$(ClusterId).$(ProcId).out",
    ):
        assert line in lines


def test_a_description_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    described(load_site(written(tmp_path, "log_directory: ~/logs\n")))
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / ".flashbrew").exists()


def test_somebodys_dask_configuration_changes_nothing():
    import dask

    before = described(load_site("generic"))
    theirs = {"jobqueue.htcondor.worker-extra-args": ["--resources", "GPU=9"]}
    with dask.config.set(theirs):
        assert described(load_site("generic")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("walltme: 8h", "key 'walltme' is unknown; did you mean 'walltime'?"),
        ("xyzzy: 1", "key 'xyzzy' is unknown; docs/pools.md"),
        ("preset: lxpus", "preset 'lxpus' is unknown; choose from generic, lpc"),
        ("walltime: soon", "walltime: must look like 8h"),
        ("memory: much", "memory: must look like '2 GB'"),
        ("request_gpus: 2", "request_gpus: must be less than or equal to 1"),
        ("cores: true", "cores: must be a whole number, found True"),
        ("readers: 2.5", "readers: must be a whole number, found 2.5"),
        ("walltime: 0", "walltime: must be more than nothing, such as 8h"),
        ("walltime: 25:00", "walltime: must look like 8h, 30m or 3600 (seconds), found '25:00'"),
        ("walltime: 1.5", "walltime: must look like 8h, 30m or 3600 (seconds), found 1.5"),
        ("walltime: 99999999999999d", "walltime: must be shorter"),
        ("disk: 0 GB", "disk: must be more than nothing, found '0 GB'"),
        ("memory: 0.0GB", "memory: must be more than nothing"),
        ("memory: 4000", "memory: must look like '2 GB', found 4000"),
        ("walltime: 8h\nwalltime: 9h", "key 'walltime' appears twice; keep one of them"),
        ("scheduler_port: 70000", "scheduler_port: must be ports up to 65535, found '70000'"),
        ("worker_ports: 10100:10000", "worker_ports: must be a range FIRST:LAST from a lower"),
        ("nanny_ports: 0:100", "nanny_ports: must be a range FIRST:LAST from a lower"),
        ("directives: {Queue: 5}", "Queue is written by flashbrew itself"),
        ("directives: {executable: /bin/true}", "executable is written by flashbrew itself"),
        ("directives: {arguments: -c}", "arguments is written by flashbrew itself"),
        ("directives: {MY.FlashbrewRun: mine}", "MY.FlashbrewRun is written by flashbrew itself"),
        ("directives: {+flashbrewrun: mine}", "+flashbrewrun is written by flashbrew itself"),
        ("walltime_directive: queue", "queue is written by flashbrew itself"),
        ("prologue: source x", "prologue: must be a list, such as [first, second], found 'source"),
        ("directives: [a]", "directives: must be a mapping, such as {NAME: value}, found ['a']"),
        ("environment: {N: 1}", "environment.N: must be text (put a number in quotes), found 1"),
        ("tls: 7", "tls: must be true or false, found 7"),
        ("credentials: hidden", "credentials: must be 'shared' or 'transfer'"),
        ("worker_ports: a-b", "worker_ports: must look like 8786"),
        ("image: 'a\"b'", "image: must not contain quotes"),
        ('image: "a\'b"', "image: must not contain quotes"),
        ('image: "a\\nqueue 100"', "image: must not contain a line break"),
        ('prologue: ["true\\nrm x"]', "prologue.0: must not contain a line break"),
        ("python: /opt/a;b/python", "python: must be letters, digits"),
        ("environment: {A: $(id)}", "environment.A: must be letters, digits"),
        ("environment: {A-B: c}", "environment.A-B"),
        ("directives: {MY.X: 'a\"b'}", "directives.MY.X: must not contain quotes"),
        ("directives: {'queue 5': 1}", "directives.queue 5"),
        ("accounting_group: a b", "accounting_group: must be letters"),
        ("shared_directory: /a b", "shared_directory: must be letters"),
        (
            "preset: lxplus\nlog_directory: ~/logs",
            "gets no log of spooled jobs; name one below /eos",
        ),
        ("credentials: transfer", "needs transfer_files: true"),
        ("- a", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


def test_a_site_that_is_no_file_names_the_presets():
    with pytest.raises(ConfigurationError, match="neither a preset"):
        load_site("cern")


def test_a_file_changes_its_preset_and_nothing_else(tmp_path):
    site = load_site(written(tmp_path, "preset: lpc\nwalltime: 2d\n"))
    assert site.walltime == datetime.timedelta(days=2)
    assert site.model_copy(update={"walltime": datetime.timedelta(hours=8)}) == load_site("lpc")


def test_every_key_is_described(repository):
    page = (repository / "docs" / "pools.md").read_text()
    for name, field in SiteSettings.model_fields.items():
        assert field.description, name
        assert f"| `{name}` |" in page, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls: false", "add --insecure"),
        ("dashboard_address: 0.0.0.0:8787", "is open to other machines"),
        ("dashboard_address: :8787", "is open to other machines"),
    ],
)
def test_what_others_could_reach_needs_an_explicit_word(tmp_path, text, message):
    site = load_site(written(tmp_path, text))
    with pytest.raises(ConfigurationError, match=message):
        described(site)
    assert " tcp://HOST:PORT " in described(site, insecure=True)


@pytest.mark.parametrize(
    ("more", "bare"),
    [
        ("", True),
        ("image: /cvmfs/image:1", False),
        ("python: /cvmfs/env/bin/python", False),
        ("prologue: [source /cvmfs/env/activate]", False),
    ],
)
def test_jobs_on_bare_nodes_are_not_submitted(tmp_path, more, bare):
    site = load_site(written(tmp_path, f"preset: lxplus\n{more}\n"))
    assert site.bare_python is bare
    assert "bare" not in described(site)
    if bare:
        settings = ExecutorSettings("htcondor", workers=2, site=site)
        from executors.htcondor.pool import open_htcondor

        complaint = "jobs at lxplus would start python3 of a bare node"
        with pytest.raises(ConfigurationError, match=complaint), open_htcondor(settings):
            pass


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ("", True),
        ("submit_arguments: [-name, one]", True),
        ("cancel_arguments: [-name, one]", True),
        ("submit_arguments: [-name, one]\ncancel_arguments: [-name, other]", True),
        ("submit_arguments: [-name, one]\ncancel_arguments: [-name]", True),
        ("submit_arguments: [-debug, -name, one]\ncancel_arguments: [-name, one]", False),
    ],
)
def test_jobs_that_would_not_be_found_again_are_not_submitted(tmp_path, more, lost):
    site = load_site(written(tmp_path, f"preset: lpc\nimage: /cvmfs/image:1\n{more}\n"))
    assert site.loses_jobs is lost
    assert "Queue" in described(site)
    if lost:
        settings = ExecutorSettings("htcondor", workers=2, site=site)
        from executors.htcondor.pool import open_htcondor

        complaint = r"site's YAML file, submit_arguments: \[-name, SCHEDD\] and cancel_arguments"
        with pytest.raises(ConfigurationError, match=complaint), open_htcondor(settings):
            pass


def test_an_image_on_a_shared_disk_is_not_transferred(tmp_path):
    text = "image: /shared/flashbrew.sif\n"
    shared = described(load_site(written(tmp_path, text)))
    assert "transfer_container = False" in shared
    carried = described(load_site(written(tmp_path, f"{text}transfer_files: true\n")))
    assert "transfer_container" not in carried


def test_environment_that_a_shell_would_read_is_refused(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore;touch /tmp/x")
    with pytest.raises(ConfigurationError, match="PYTHONWARNINGS cannot be handed to jobs"):
        described(load_site("generic"))


def test_a_python_that_a_shell_would_divide_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/muon/my env/bin/python")
    with pytest.raises(ConfigurationError, match="this Python cannot be handed to jobs: it must"):
        described(load_site("generic"))


def test_a_log_directory_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    from executors.htcondor.pool import open_htcondor

    (tmp_path / "file").write_text("")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    text = f"log_directory: {tmp_path}/file/logs\ntls: false\n"
    site = load_site(written(tmp_path, text))
    settings = ExecutorSettings("htcondor", workers=1, site=site, insecure=True)
    complaint = f"log_directory {tmp_path}/file/logs cannot be made .Not a directory."
    with pytest.raises(ConfigurationError, match=complaint), open_htcondor(settings):
        pass


def test_dry_run_prints_what_is_submitted(repository, sample):
    processor = f"{repository}/tests/executors/counting.py:Counting"
    command = [sys.executable, "run_processor.py", processor, str(sample[0]), "--test"]
    command += ["--executor", "htcondor", "--workers", "2", "--site", "lxplus", "--dry-run"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "250 events in 1 chunks" in done.stdout
    assert done.stdout.count("ignore::RuntimeWarning:coffea.nanoevents.schemas.nanoaod") == 1
    for line in IMPORTANT["lxplus"]:
        assert line in done.stdout
