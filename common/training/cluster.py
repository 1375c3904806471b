"""The machines of a run: ``TF_CONFIG`` from Slurm, Kubernetes or a list of hosts.

TensorFlow reads the addresses of all workers and the own index from the
environment variable ``TF_CONFIG``. The worker of index 0 is the chief, which writes the
run folder; all workers need a file system in common for it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from common import child_processes
from common.config import ConfigError

VARIABLE = "TF_CONFIG"
PORT_VARIABLE = "CLUSTER_PORT"
"""Variable with the port of the first worker of a machine; others use the next ones."""
PORT = 12345
SLURM_PORTS = range(20000, 30000, 10)
"""First ports of jobs of Slurm, so that jobs on one machine rarely share a port."""
SIGNALS_VARIABLE = "SEPARATION_SIGNALS"
"""Variable that is ``stdin`` if signals arrive as lines of the standard input.

See :func:`common.child_processes.listen`.
"""
LAST_LINES = 5
"""Number of lines of a failed worker that are printed."""

Environment = Mapping[str, str]


class Worker(NamedTuple):
    """One process of a run.

    Attributes:
        addresses: Host and port of every worker.
        number: Index of this one.
        run: Name for the run folder, the same for all workers.
    """

    addresses: Sequence[str]
    number: int
    run: str

    def tf_config(self) -> str:
        """Return the value of ``TF_CONFIG``.

        >>> Worker(["a:1"], 0, "").tf_config()
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
        """
        task = {"type": "worker", "index": self.number}
        return json.dumps({"cluster": {"worker": [*self.addresses]}, "task": task})


def is_chief() -> bool:
    """Return whether this process writes the files of the run, by ``TF_CONFIG``.

    Raises:
        ValueError: ``TF_CONFIG`` is not JSON with a task.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return True
    try:
        config = json.loads(text)
        task, index = config["task"]["type"], int(config["task"]["index"])
        return task == "chief" or ("chief" not in config["cluster"] and index == 0)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"TF_CONFIG={text!r} is not understood ({error!r}); expected JSON with "
            '"cluster" and "task": {"type": ..., "index": ...}'
        ) from error


def worker(environment: Environment) -> Worker | None:
    """Return this process as a worker of a run, as Slurm or Kubernetes started it.

    Args:
        environment: Variables of the process.

    Returns:
        None for a process that is the only one of its run.

    Raises:
        ConfigError: A variable is missing or has no valid value.
    """
    if "SLURM_PROCID" in environment:
        return slurm_worker(environment)
    if "JOB_COMPLETION_INDEX" in environment:
        return kubernetes_worker(environment)
    return None


def slurm_worker(environment: Environment) -> Worker | None:
    """Return a task of ``srun`` as a worker.

    Tasks are counted over the machines in their order, as with ``--distribution=block``
    (the default).

    >>> task = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
    >>> task |= {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    >>> slurm_worker(task)
    Worker(addresses=['n1:20070', 'n2:20070'], number=1, run='slurm-7')
    """
    index = _number(environment, "SLURM_PROCID")
    name = "SLURM_STEP_NUM_TASKS"
    name = name if name in environment else "SLURM_NTASKS"
    count = _number(environment, name) if name in environment else 1
    if count == 1:
        return None
    if not {"SLURM_STEP_NODELIST", "SLURM_STEP_ID"} & environment.keys():
        raise ConfigError(
            f"{name}={count}, but this is the batch script of the job and not one of "
            "its tasks; start it by 'srun' to train with all of them, or request one "
            "task"
        )
    nodes = _first(environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
    hosts = expand_hosts(nodes)
    tasks = _tasks_per_node(environment, len(hosts), count)
    job = environment.get("SLURM_JOB_ID", "0")
    first = SLURM_PORTS[int(re.sub(r"\D", "", job) or 0) % len(SLURM_PORTS)]
    named = [host for host, n in zip(hosts, tasks, strict=True) for _ in range(n)]
    _check_index(index, len(named), "SLURM_PROCID")
    addresses = with_ports(named, _port(environment, first))
    return Worker(addresses, index, f"slurm-{job}")


def kubernetes_worker(environment: Environment) -> Worker | None:
    """Return a pod of an indexed Job as a worker.

    The pods find each other by a headless service, which is the ``subdomain`` of their
    template. Its name is in ``JOB_SERVICE``, the number of pods in ``JOB_COMPLETIONS``,
    both set in the template; without them every pod is a run of its own.

    >>> pod = {"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "umx-0"}
    >>> kubernetes_worker({**pod, "JOB_SERVICE": "net", "JOB_COMPLETIONS": "2"})
    Worker(addresses=['umx-0.net:12345', 'umx-1.net:12345'], number=0, run='umx')
    """
    index = _number(environment, "JOB_COMPLETION_INDEX")
    names = "JOB_SERVICE", "JOB_COMPLETIONS"
    missing = [name for name in names if not environment.get(name)]
    if len(missing) == len(names):
        return None
    if missing:
        raise ConfigError(
            f"{missing[0]} is not set; set JOB_SERVICE to the headless service of the "
            "Job and JOB_COMPLETIONS to its number of pods, or neither of them"
        )
    count = _number(environment, "JOB_COMPLETIONS")
    _check_index(index, count, "JOB_COMPLETION_INDEX")
    host, suffix = environment.get("HOSTNAME", ""), f"-{index}"
    job = host.removesuffix(suffix)
    if job in ("", host):
        raise ConfigError(
            f"HOSTNAME={host!r}: expected NAME{suffix}, as pods of an indexed Job are "
            "named; leave 'hostname' out of the template"
        )
    hosts = [f"{job}-{n}.{environment['JOB_SERVICE']}" for n in range(count)]
    return Worker(with_ports(hosts, _port(environment)), index, job)


def expand_hosts(text: str) -> list[str]:
    """Expand a list of hosts in the notation of Slurm.

    Raises:
        ConfigError: The brackets are not understood.

    >>> expand_hosts("gpu[08-10,12],login,r[1-2]n[0,4]")
    ['gpu08', 'gpu09', 'gpu10', 'gpu12', 'login', 'r1n0', 'r1n4', 'r2n0', 'r2n4']
    """
    # Commas within brackets do not end a host.
    parts = re.findall(r"(?:[^,\[\]]|\[[\d,-]+\])+", text)
    if not parts or ",".join(parts) != text:
        raise ConfigError(
            f"the list of hosts {text!r} is not understood; expected the notation of "
            "Slurm, such as gpu[1-3,7],login"
        )
    return [host for part in parts for host in _expanded(part)]


def read_hosts(path: str | Path) -> list[str]:
    """Read a file of hosts, one a line; what follows ``#`` is a comment.

    Raises:
        ConfigError: The file cannot be read or names no host.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--hosts {path} cannot be read ({error}); expected a file with the name "
            "of a host on each line"
        ) from error
    hosts = [words[0] for line in lines if (words := line.partition("#")[0].split())]
    if not hosts:
        raise ConfigError(f"--hosts {path} names no host; expected one on each line")
    unusable = [host for host in hosts if host.startswith("-") or ":" in host]
    if unusable:
        raise ConfigError(
            f"--hosts {path} names {unusable[0]!r}; expected the name or the IPv4 "
            "address of a host, or USER@HOST"
        )
    return hosts


def with_ports(hosts: Sequence[str], first: int = PORT) -> list[str]:
    """Give each worker its own port on its host.

    >>> with_ports(["me@a", "b", "a"], 5000)
    ['a:5000', 'b:5000', 'a:5001']
    """
    counts: Counter[str] = Counter()
    addresses = []
    for host in hosts:
        name = host.rpartition("@")[2]
        addresses.append(f"{name}:{first + counts[name]}")
        counts[name] += 1
    return addresses


def run_on_hosts(
    hosts: Sequence[str],
    command: Sequence[str],
    variables: Environment,
    logs: Path,
) -> int:
    """Run a command by ssh on each host, in the current folder, as one run.

    The output of the first host is printed, that of the others goes to files. Signals
    are forwarded. When one host fails, the others are ended.

    Args:
        hosts: The hosts, the chief first.
        command: Program and arguments, the same on each.
        variables: Environment variables to set besides ``TF_CONFIG``.
        logs: Folder for the output of the others.

    Returns:
        The exit code: 0, or that of the host that failed first.

    Raises:
        ConfigError: There is no ssh.
        OSError: A log cannot be written.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise ConfigError("--hosts needs ssh, which is not on PATH; install it")
    addresses = with_ports(hosts, _port(os.environ))
    with ExitStack() as stack:
        files = list(_open_logs(hosts, logs, stack))
        starts = []
        for index, host in enumerate(hosts):
            task = {VARIABLE: Worker(addresses, index, "").tf_config()}
            task[SIGNALS_VARIABLE] = "stdin"
            remote = remote_command(command, {**variables, **task})
            words = [ssh, "-T", "-o", "BatchMode=yes", host, remote]
            starts.append(
                partial(child_processes.start_through_stdin, words, files[index])
            )
        result = child_processes.run_together(
            starts, child_processes.send_through_stdin
        )
    if result.failed is not None:
        file = files[result.failed]
        log = None if file is None else Path(file.name)
        _report(hosts[result.failed], result.code, log)
    return result.code


def remote_command(command: Sequence[str], variables: Environment) -> str:
    """Return the line that a shell on a host runs in the folder of this process."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    program = shlex.join(["env", *settings, *command])
    return f"cd {shlex.quote(os.getcwd())} && exec {program}"  # noqa: PTH109


def _open_logs(
    hosts: Sequence[str], logs: Path, stack: ExitStack
) -> Iterator[IO[Any] | None]:
    """Open a file for the output of every host but the first."""
    yield None
    if len(hosts) > 1:
        logs.mkdir(parents=True, exist_ok=True)
    for index, host in enumerate(hosts[1:], 1):
        yield stack.enter_context((logs / f"{index}-{host}.log").open("wb"))


def _report(host: str, code: int, log: Path | None) -> None:
    """Print which host failed, and the last lines of its log."""
    where = f"; its output is in {log}" if log else ""
    sys.stderr.write(f"{host} failed with exit code {code}{where}\n")
    if log:
        lines = log.read_text("utf-8", errors="replace").splitlines()
        sys.stderr.writelines(f"  {line}\n" for line in lines[-LAST_LINES:])


def _expanded(part: str) -> list[str]:
    """Expand the brackets of one name, the first ones slowest."""
    head, opened, rest = part.partition("[")
    if not opened:
        return [part]
    inside, _, tail = rest.partition("]")
    numbers = [number for item in inside.split(",") for number in _range(item, part)]
    return [f"{head}{number}{end}" for number in numbers for end in _expanded(tail)]


def _range(item: str, part: str) -> list[str]:
    """Expand ``08-10``, with its leading zeros."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
    if match is None:
        raise ConfigError(
            f"{item!r} in the list of hosts {part!r} is not understood; expected a "
            "number or a range such as 08-10"
        )
    first, last = match[1], match[2] or match[1]
    return [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]


def _tasks_per_node(environment: Environment, hosts: int, count: int) -> list[int]:
    """Return the number of tasks of each host, from such as ``2(x3),1``."""
    names = "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"
    text = _first(environment, *names)
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    tasks = [n for part in parts if part for n in [int(part[1])] * int(part[2] or 1)]
    if None in parts or len(tasks) != hosts or sum(tasks) != count:
        raise ConfigError(
            f"{names[0]}={text!r} does not give {count} tasks on {hosts} hosts; start "
            "the script by 'srun' of the job itself"
        )
    return tasks


def _first(environment: Environment, *names: str) -> str:
    for name in names:
        if environment.get(name):
            return environment[name]
    raise ConfigError(
        f"neither {' nor '.join(names)} is set, though SLURM_PROCID is; start the "
        "script by 'srun', which sets them"
    )


def _number(environment: Environment, name: str) -> int:
    text = environment.get(name, "")
    if not text.isdecimal():
        raise ConfigError(f"{name}={text!r}: expected a whole number")
    return int(text)


def _port(environment: Environment, default: int = PORT) -> int:
    if not environment.get(PORT_VARIABLE):
        return default
    port = _number(environment, PORT_VARIABLE)
    if not 1024 <= port <= 65000:
        raise ConfigError(f"{PORT_VARIABLE}={port}: expected a port, 1024 to 65000")
    return port


def _check_index(index: int, count: int, name: str) -> None:
    if index >= count:
        raise ConfigError(
            f"{name}={index}: expected a number below that of the workers, {count}"
        )
