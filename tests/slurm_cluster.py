"""A Slurm cluster on this machine, of the real daemons: munged, slurmctld and a slurmd a node.

They are taken from the folder that CVFP_SLURM names, as tests/slurm_packages.sh unpacks it, or else from PATH.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MISSING = "Slurm's daemons are not on PATH and CVFP_SLURM names no folder of tests/slurm_packages.sh"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Programs and the environment in which Slurm's commands ask this cluster."""

    environment: dict[str, str]
    folder: Path

    def ask(self, *command: str, **more: object) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, check=True, **more).stdout

    def states(self) -> dict[str, str]:
        """State of each job in the queue by its id, array tasks one by one."""
        return dict(line.split() for line in self.ask("squeue", "-h", "-r", "-o", "%i %T").splitlines())

    def log(self) -> str:
        """What the daemons said, for a test that failed."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("*.log")))


def programs() -> dict[str, Path] | None:
    """Where the daemons are; None where one is missing."""
    unpacked = os.environ.get("CVFP_SLURM")
    folders = [Path(unpacked) / "usr" / part for part in ("sbin", "bin")] if unpacked else os.get_exec_path()
    path = os.pathsep.join(map(str, folders))
    found = {name: shutil.which(f"{name}-wlm", path=path) or shutil.which(name, path=path) for name in _PROGRAMS}
    return None if None in found.values() else {name: Path(str(file)) for name, file in found.items()}


def until(true, seconds: float = 120.0) -> None:
    """Waits until a call returns something true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {true}")
        time.sleep(0.1)


@contextmanager
def running(folder: Path, *, nodes: int = 2, kill_wait: int = 2) -> Iterator[Cluster]:
    """A cluster of so many nodes of one CPU in the partition `main`, and one node in the partition `far`.

    The node of `far` is in a mount namespace of its own where the system permits one: there `folder/private` is empty.
    Where there is a folder `far-python`, Python finds modules there first.
    """
    at = programs()
    assert at is not None, MISSING
    libraries = [file.parent for file in Path(os.environ.get("CVFP_SLURM", "/usr")).rglob("libslurmfull.so")]
    spool, key, socket_ = folder / "spool", folder / "munge.key", folder / "munge.socket"
    (folder / "state").mkdir(parents=True)
    (folder / "private").mkdir()
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    names = [*(f"n{number}" for number in range(1, nodes + 1)), "far"]
    host, user = socket.gethostname().partition(".")[0], _user()
    configuration = folder / "slurm.conf"
    controller, *ports = _free_ports(len(names) + 1)
    configuration.write_text("\n".join([
        "ClusterName=tests", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmUser={user}", f"SlurmdUser={user}",
        f"SlurmctldPort={controller}", f"AuthInfo=socket={socket_}", f"PluginDir={libraries[0]}",
        f"StateSaveLocation={folder / 'state'}", f"SlurmdSpoolDir={spool}/%n", f"SlurmctldPidFile={folder}/ctld.pid",
        f"SlurmdPidFile={folder}/%n.pid", "AuthType=auth/munge", "CredType=cred/munge",
        "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none", "SwitchType=switch/none",
        "JobAcctGatherType=jobacct_gather/none", "AccountingStorageType=accounting_storage/none",
        "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU", "ReturnToService=2", f"KillWait={kill_wait}",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1", "SlurmdTimeout=10",
        f"TaskProlog={folder}/prolog.sh",
        *(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
          for name, port in zip(names, ports, strict=True)),
        f"PartitionName=main Nodes={','.join(names[:-1])} Default=YES MaxTime=60", "PartitionName=far Nodes=far", "",
    ]))
    prolog = folder / "prolog.sh"
    prolog.write_text(f'#!/bin/sh\n[ "$SLURMD_NODENAME" = far ] && [ -d {folder}/far-python ] && '
                      f'echo "export PYTHONPATH={folder}/far-python:$PYTHONPATH"\nexit 0\n')
    prolog.chmod(0o755)
    environment = os.environ | {
        "SLURM_CONF": str(configuration),
        "PATH": os.pathsep.join([str(at["sbatch"].parent), os.environ["PATH"]]),
        "LD_LIBRARY_PATH": os.pathsep.join(str(part) for part in {*libraries, *(each.parent for each in libraries)}),
    }
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: object, before: tuple[str, ...] = ()) -> None:
        end_with_us = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
        with (folder / f"{arguments[-1] if name == 'slurmd' else name}.log").open("ab") as log:
            daemons.append(subprocess.Popen([*end_with_us, *before, str(at[name]), *map(str, arguments)], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=environment))

    cluster = Cluster(environment=environment, folder=folder)
    apart = ("unshare", "--mount", "--propagation=private", "sh", "-c",
             f"mount -t tmpfs none {folder}/private; exec \"$@\"", "sh")
    try:
        start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket_}",
              f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed")
        until(socket_.exists)
        start("slurmctld", "-D", "-c", "-f", configuration)
        for name in names:
            (spool / name).mkdir(parents=True)
            start("slurmd", "-D", "-f", configuration, "-d", at["slurmstepd"], "-N", name,
                  before=apart if name == "far" and namespaces() else ())
        until(lambda: _idle(cluster) == len(names))
        yield cluster
    finally:
        _stop(cluster, daemons)


def namespaces() -> bool:
    """Whether this process may mount in a namespace of its own."""
    command = ("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /tmp")
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True, check=False).returncode


def _stop(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Ends jobs, for their processes outlive the daemons, and then the daemons, the last one first."""
    try:
        cluster.ask("scancel", "--user", _user())
        until(lambda: not cluster.states())
    except (subprocess.CalledProcessError, TimeoutError):
        print(cluster.log())
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _idle(cluster: Cluster) -> int:
    """How many nodes have registered and wait for work."""
    done = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], env=cluster.environment, text=True, capture_output=True,
                          check=False)
    return done.stdout.split().count("idle")


def _user() -> str:
    return subprocess.run(["id", "-un"], text=True, capture_output=True, check=True).stdout.strip()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
