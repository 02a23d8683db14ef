"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket, with nothing else in it.

Before it, a pgbouncer may stand, as in many shops.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest


def binary(name: str) -> str | None:
    """Return the path of a program of PostgreSQL, of the latest version at hand."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))


def missing() -> str | None:
    """Return why there can be no server, or ``None``."""
    if binary("initdb") is None or binary("postgres") is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root"
    return None if _driver() else "the extra postgres is not installed"


def _driver() -> bool:
    try:
        import psycopg_pool  # noqa: F401
    except ImportError:
        return False
    return True


class Cluster:
    """A server, which can be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that belongs to the server."""
        self.folder = folder

    @property
    def url(self) -> str:
        """URL of its database."""
        return f"postgresql:///postgres?host={self.folder}&user=tests"

    def create(self) -> None:
        """Create the files of the server."""
        self._run("initdb", "-U", "tests", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=50"
        self._run("pg_ctl", "start", "--wait", "--log", str(self.folder / "log"), "--options", options)

    def stop(self) -> None:
        """End the server; its connections are cut."""
        self._run("pg_ctl", "stop", "--mode", "fast")

    def kill(self) -> None:
        """End the server without a checkpoint, as if its machine had failed."""
        self._run("pg_ctl", "stop", "--mode", "immediate")

    def run(self, statement: str) -> None:
        """Execute a statement as the superuser, outside a transaction."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_as_user(), str(binary(program)), "-D", str(self.folder / "data"), *arguments]
        # No pipes: the server would inherit them, and a reader would wait for its end.
        subprocess.run(command, check=True, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        """Create and start the server."""
        self.create()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()


BOUNCER = """\
[databases]
postgres = host={folder} user=tests
[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = {folder}/bouncer.log
pidfile = {folder}/bouncer.pid
"""


@contextmanager
def bouncer(cluster: Cluster) -> Iterator[str]:
    """Run a pgbouncer that shares two connections in transaction mode; yield its URL. Skip the test without one."""
    program = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        pytest.skip("pgbouncer is not installed")
    configuration = cluster.folder / "bouncer.ini"
    configuration.write_text(BOUNCER.format(folder=cluster.folder))
    command = [*_as_user(), program, str(configuration)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=cluster.folder, **quiet) as process:
        try:
            socket = cluster.folder / ".s.PGSQL.6432"
            while not socket.exists():
                assert process.poll() is None, "pgbouncer ended"
                time.sleep(0.02)
            yield f"{cluster.url}&port=6432"
        finally:
            process.terminate()


def _as_user() -> list[str]:
    """Return how a program runs as another user than root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    return [str(shutil.which("setpriv")), "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


@contextmanager
def new_cluster() -> Iterator[Cluster]:
    """Run a server in a folder of its own, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="roamify-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        with Cluster(folder) as running:
            yield running


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a server, or skip the test if there can be none."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with new_cluster() as running:
        yield running
