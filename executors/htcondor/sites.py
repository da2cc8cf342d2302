"""Settings of a batch site: presets, a user's YAML file, what may reach a submit file."""

from __future__ import annotations

import difflib
import getpass
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from executors.errors import ConfigurationError
from executors.htcondor.watch import RUN_ATTRIBUTE
from executors.yaml_text import load_yaml

__all__ = ["PRESETS", "SiteSettings", "load_site", "shell_word"]

_FOLDER = Path(__file__).with_name("presets")
PRESETS = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))
"""Names of the presets that are shipped."""

_WANTED = {
    "tuple_type": "a list, such as [first, second]",
    "dict_type": "a mapping, such as {NAME: value}",
    "string_type": "text (put a number in quotes)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What to write, by pydantic's type of the error."""

# where condor_submit picks a schedd, and condor_q and condor_rm ask for the name of one
_SEVERAL_SCHEDDS = ("lpc",)
_LOOPBACK = ("127.0.0.1", "localhost")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION_EXAMPLE = "8h, 30m or 3600 (seconds)"
_DURATION = re.compile(r"(\d+)\s*([smhd]?)")
_SIZE = re.compile(r"\d+(\.\d+)?\s*[kMGT]i?B")
_PORTS = re.compile(r"\d{1,5}(:\d{1,5})?")
_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./~-]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# EOS of users at CERN under its names, and the server that writes there (cernops/dask-lxplus)
_EOS = re.compile(r"/eos/(?:user|home)(?:-\w+)?(?:/\w)?/(?P<user>\w{2,})(?P<path>/.*)?")
_EOS_SERVER = "root://eosuser.cern.ch/"
_LAST_PORT = 65535
# lines of the submit file by which a run starts its workers, gives them their keys, knows its jobs
_OWN = frozenset(
    name.lower()
    for name in (
        "queue", "executable", "arguments", "should_transfer_files", "transfer_input_files",
        RUN_ATTRIBUTE, "DaskWorkerName",
    )
)  # fmt: skip
_DIRECTIVE = re.compile(r"(\+|MY\.)?[A-Za-z_][A-Za-z0-9_]*")


def _plain(text: str) -> str:
    """Refuse what could end a value early in a submit file or a shell."""
    found = next((character for character in text if character in "\"'\n\r\0"), None)
    if found is not None:
        names = {"\n": "a line break", "\r": "a line break", "\0": "a null character"}
        msg = f"must not contain {names.get(found, 'quotes')}, found {text!r}"
        raise ValueError(msg)
    return text


def shell_word(text: str) -> str:
    """Check that a shell takes ``text`` as one word and as nothing else.

    Raises: ValueError showing it.

    Example:
        >>> shell_word("/opt/env/bin/python")
        '/opt/env/bin/python'
    """
    if not _WORD.fullmatch(_plain(text)):
        msg = f"must be letters, digits and _@%+=:,./~- alone, found {text!r}"
        raise ValueError(msg)
    return text


def _matching(pattern: re.Pattern[str], example: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            msg = f"must look like {example}, found {text!r}"
            raise ValueError(msg)
        return text

    return AfterValidator(check)


def _value(value: Any) -> Any:
    """What a line of a submit file may hold."""
    if not isinstance(value, bool | int | float | str):
        msg = f"must be a number, true, false or text, found {value!r}"
        raise ValueError(msg)
    return _plain(value) if isinstance(value, str) else value


def _duration(value: Any) -> timedelta:
    """Seconds, or a number with one of s, m, h, d."""
    if isinstance(value, timedelta):
        return value
    plain = isinstance(value, int | str) and not isinstance(value, bool)
    found = _DURATION.fullmatch(str(value).strip()) if plain else None
    if not found:
        msg = f"must look like {_DURATION_EXAMPLE}, found {value!r}"
        raise ValueError(msg)
    try:
        return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "s"])
    except OverflowError:
        msg = f"must be shorter, found {value!r}"
        raise ValueError(msg) from None


def _some_time(value: timedelta) -> timedelta:
    if not value:
        msg = f"must be more than nothing, such as {_DURATION_EXAMPLE}"
        raise ValueError(msg)
    return value


def _size(value: Any) -> str:
    """An amount of memory or disk, with its unit."""
    if not isinstance(value, str) or not _SIZE.fullmatch(value):
        msg = f"must look like '2 GB', found {value!r}"
        raise ValueError(msg)
    if not float(re.split("[kMGT ]", value)[0]):
        msg = f"must be more than nothing, found {value!r}"
        raise ValueError(msg)
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"must be a whole number, found {value!r}"
        raise ValueError(msg)
    return value


def _ports(value: Any) -> str:
    """One port, or the first and the last of a range."""
    text = str(value)
    if not _PORTS.fullmatch(text):
        msg = f"must look like 8786 or 10000:10100, found {text!r}"
        raise ValueError(msg)
    first, _, last = text.partition(":")
    if int(last or first) > _LAST_PORT:
        msg = f"must be ports up to {_LAST_PORT}, found {text!r}"
        raise ValueError(msg)
    if last and not 0 < int(first) <= int(last):
        msg = f"must be a range FIRST:LAST from a lower port to a higher one, found {text!r}"
        raise ValueError(msg)
    return text


def _free(name: str) -> str:
    """Refuse what a run needs for itself."""
    if name.removeprefix("+").removeprefix("MY.").lower() in _OWN:
        msg = f"{name} is written by flashbrew itself, which would lose its jobs; leave it out"
        raise ValueError(msg)
    return name


def _expanded(text: str) -> str:
    """Absolute path, with ~ and $NAME replaced; $INITIAL is the first letter of $USER."""
    user = _user()
    text = text.replace("$INITIAL", user[0]).replace("$USER", user)
    return os.path.abspath(os.path.expanduser(os.path.expandvars(text)))


def _named(arguments: tuple[str, ...]) -> str | None:
    """Schedd that arguments of a command of HTCondor name."""
    return dict(pairwise(arguments)).get("-name")


def _user() -> str:
    """Name of who runs this, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in the container
        return str(os.getuid())


Text = Annotated[str, AfterValidator(_plain)]
Word = Annotated[str, AfterValidator(shell_word)]
Place = Annotated[str, AfterValidator(_expanded), AfterValidator(shell_word)]
Interpreter = Annotated[
    str,
    AfterValidator(lambda text: _expanded(text) if "/" in text else text),
    AfterValidator(shell_word),
]
Size = Annotated[str, BeforeValidator(_size)]
Count = Annotated[int, BeforeValidator(_count)]
Ports = Annotated[str, BeforeValidator(_ports)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Span = Annotated[Duration, AfterValidator(_some_time)]
Value = Annotated[Any, AfterValidator(_value)]
Name = Annotated[str, _matching(_NAME, "NAME")]
Directive = Annotated[
    str, _matching(_DIRECTIVE, "request_gpus or MY.Attribute"), AfterValidator(_free)
]


class SiteSettings(BaseModel):
    """Everything that differs from one HTCondor pool to the next.

    One job is one Dask worker. A GPU job holds one GPU, read for by several threads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    preset: str = Field("generic", description="settings to start from")
    image: Text | None = Field(None, description="container image of the workers")
    image_style: Literal["container", "singularity"] = Field(
        "container",
        description="container_image of the container universe, or MY.SingularityImage",
    )
    python: Interpreter | None = Field(
        None, description="Python interpreter of the workers; default: the one that runs flashbrew"
    )
    cores: Count = Field(1, ge=1, description="cores of a job, and compute threads of its worker")
    memory: Size = Field("3 GB", description="memory of a job")
    disk: Size = Field("4 GB", description="disk of a job")
    request_gpus: Count = Field(0, ge=0, le=1, description="GPUs of a job, 0 or 1")
    readers: Count = Field(
        4, ge=1, description="threads that read chunks for a GPU; without a GPU there is one"
    )
    walltime: Span = Field(timedelta(hours=8), description="how long a job may run")
    walltime_directive: Directive = Field(
        "allowed_job_duration", description="submit command that takes the walltime in seconds"
    )
    death_timeout: Span = Field(
        timedelta(hours=1), description="how long jobs and client wait for each other"
    )
    scheduler_host: Word = Field(
        "127.0.0.1",
        description="address on which the Dask scheduler listens; auto: this machine's name",
    )
    scheduler_port: Ports = Field(
        "0", description="port of the scheduler, or a range of ports; 0: any"
    )
    dashboard_address: Word = Field(
        "127.0.0.1:0", description="address on which Dask's dashboard listens"
    )
    worker_ports: Ports | None = Field(
        None, description="ports open on worker nodes, for the workers"
    )
    nanny_ports: Ports | None = Field(
        None, description="ports open on worker nodes, for Dask's nannies"
    )
    tls: bool = Field(True, description="encrypt the connections; false needs --insecure")
    credentials: Literal["shared", "transfer"] = Field(
        "shared",
        description="workers read the run's key from shared_directory, or get it with the job",
    )
    shared_directory: Place = Field(
        "~/.flashbrew", description="directory in which the key of a run lies"
    )
    transfer_files: bool = Field(False, description="whether HTCondor transfers files")
    proxy: bool | Place = Field(False, description="grid proxy: path, or true for the usual one")
    token: Place | None = Field(
        None, description="file with a bearer token, for BEARER_TOKEN_FILE of the jobs"
    )
    credential_lifetime: Duration = Field(
        timedelta(hours=1), description="how long proxy and token must last at least"
    )
    log_directory: Place | None = Field(
        None,
        description="directory for the logs of the jobs, below /eos/user for jobs that are "
        "spooled; none: none are kept",
    )
    stream_logs: bool = Field(True, description="whether logs grow while the job runs")
    prologue: tuple[Text, ...] = Field(
        (), description="shell commands to run before the worker starts"
    )
    environment: dict[Name, Word] = Field({}, description="environment variables of the worker")
    accounting_group: Word | None = Field(None, description="accounting group charged for the jobs")
    accounting_group_user: Word | None = Field(
        None, description="user charged within the accounting group"
    )
    directives: dict[Directive, Value] = Field(
        {}, description="further lines of the submit file; text after MY. or + is quoted"
    )
    submit_arguments: tuple[Word, ...] = Field((), description="further arguments of condor_submit")
    cancel_arguments: tuple[Word, ...] = Field(
        (), description="further arguments of condor_rm and condor_q"
    )

    @model_validator(mode="after")
    def _fits(self) -> SiteSettings:
        if self.credentials == "transfer" and not self.transfer_files:
            msg = "credentials: transfer needs transfer_files: true"
            raise ValueError(msg)
        if self.preset not in PRESETS:
            msg = f"preset {self.preset!r} is unknown; choose from {', '.join(PRESETS)}"
            raise ValueError(msg)
        if self.spooled and self.log_directory is not None and self.log_url is None:
            msg = (
                f"log_directory {self.log_directory} gets no log of spooled jobs; name one below "
                "/eos/user, where the jobs write them"
            )
            raise ValueError(msg)
        return self

    @property
    def spooled(self) -> bool:
        """Whether files travel through the schedd's own disk, and stay there."""
        return "-spool" in self.submit_arguments

    @property
    def log_url(self) -> str | None:
        """Where spooled jobs write their logs themselves; None where nobody can tell."""
        found = _EOS.fullmatch(self.log_directory or "")
        if found is None:
            return None
        return f"{_EOS_SERVER}/eos/user/{found['user'][0]}/{found['user']}{found['path'] or ''}"

    @property
    def worker_threads(self) -> int:
        """Dask threads of a worker: readers of a GPU, else one."""
        return self.readers if self.request_gpus else 1

    @property
    def proxy_path(self) -> Path | None:
        """Where the grid proxy lies, None where none is used."""
        if isinstance(self.proxy, str):
            return Path(self.proxy)
        usual = os.environ.get("X509_USER_PROXY") or f"/tmp/x509up_u{os.getuid()}"
        return Path(usual) if self.proxy else None

    @property
    def bare_python(self) -> bool:
        """Whether workers would start with whatever Python a node has."""
        named = self.python is not None and "/" not in self.python
        return named and self.image is None and not self.prologue

    @property
    def loses_jobs(self) -> bool:
        """Whether jobs would go to a schedd that is not the one where they are looked for."""
        named = {_named(self.submit_arguments), _named(self.cancel_arguments)}
        return self.preset in _SEVERAL_SCHEDDS and (None in named or len(named) > 1)

    @property
    def exposed_dashboard(self) -> bool:
        """Whether others than this machine can open the dashboard, which asks no one who he is."""
        return self.dashboard_address.rpartition(":")[0] not in _LOOPBACK


def load_site(name: str | None) -> SiteSettings:
    """Settings of a site: a preset's name, or a YAML file that may start from one.

    Raises: ConfigurationError in one sentence: which file, which key, what to write instead.
    """
    if name is None or name in PRESETS:
        return _validated(_preset(name or "generic"), f"preset {name}")
    content = _read(Path(name).expanduser())
    preset = content.get("preset", "generic")
    base = _preset(preset) if preset in PRESETS else {}
    return _validated({**base, **content}, name)


def _preset(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return {"preset": name, **content}


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        msg = f"--site {path} is neither a preset ({', '.join(PRESETS)}) nor a YAML file"
        raise ConfigurationError(msg)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"site file {path} cannot be read: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"site file {path} is not YAML: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error
    if not isinstance(content, dict):
        msg = f"site file {path} must be a mapping of keys to values"
        raise ConfigurationError(msg)
    return content


def _validated(values: Mapping[str, Any], source: str) -> SiteSettings:
    _refuse_unknown(values, source)
    try:
        return SiteSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if _belongs(part, values))
        reason = _reason(first)
        msg = f"site file {source}: {f'{place}: ' if place else ''}{reason}"
        raise ConfigurationError(msg) from error


def _reason(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong, as advice to somebody who writes YAML."""
    wanted = _WANTED.get(error["type"])
    if wanted is not None:
        return f"must be {wanted}, found {error['input']!r}"
    reason = str(error["msg"]).removeprefix("Value error, ")
    return reason.replace("Input should be", "must be")


def _belongs(part: Any, values: Mapping[str, Any]) -> bool:
    """Whether a part of pydantic's location is a key or an index, not the name of a type."""
    keys = {*values, *(key for one in values.values() if isinstance(one, dict) for key in one)}
    return isinstance(part, int) or part in keys


def _refuse_unknown(keys: Iterable[Any], source: str) -> None:
    for key in keys:
        if key not in SiteSettings.model_fields:
            near = difflib.get_close_matches(str(key), SiteSettings.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "docs/pools.md lists the keys"
            msg = f"site file {source}: key {key!r} is unknown; {hint}"
            raise ConfigurationError(msg)
