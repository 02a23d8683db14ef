"""Where tokens come from, and that they show nowhere."""

import io
import json
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import PROGRAM, Run

from roamify_async import RoamifyError
from roamify_async.cli.accounts import config_file
from roamify_async.sandbox import Sandbox


@pytest.fixture
def log_in(run: Run, shop: Sandbox, monkeypatch):
    """Log in with the sandbox's token from a pipe, and forget the environment's."""
    monkeypatch.delenv("ROAMIFY_TOKEN")

    def log_in(*arguments: str):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{shop.token}\n"))
        ran = run("login", *arguments)
        monkeypatch.delenv("ROAMIFY_BASE_URL", raising=False)
        return ran

    return log_in


def test_login(run: Run, shop: Sandbox, log_in):
    """The key is tried, and kept in a file that only its owner may read, with the host that it belongs to."""
    ran = log_in("--json")
    assert (ran.code, ran.json["balance"], ran.json["source"]) == (0, 1000, "the profile default")
    assert stat.S_IMODE(config_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(config_file().parent.stat().st_mode) == 0o700
    assert run("whoami").out == f"the profile default\t{shop.url}\t1000\tUSD\n"
    assert run("logout").code == 0
    assert run("whoami").code == 3
    assert shop.token not in config_file().read_text()


def test_profiles(run: Run, shop: Sandbox, log_in, monkeypatch):
    """Profiles have names, which ``--profile`` selects, and which a doubt's look-up names too."""
    log_in("--profile", "night shift")
    assert run("balance").code == 3
    assert run("balance", "--profile", "night shift").code == 0
    monkeypatch.setenv("ROAMIFY_TOKEN", "not-the-right-token")
    assert run("balance", "--profile", "night shift").code == 0
    shop.fail("POST", "/api/esim/order", "book_but_hide", seconds=60)
    arguments = ("buy", "esim-greece-30days-1gb-all", "--ref", "r", "--yes", "--window", "0.05")
    ran = run(*arguments, "--profile", "night shift")
    assert "roamify reconcile r --profile 'night shift'" in ran.err
    assert run("balance", "--profile", "day").code == 3


def test_wrong_key(run: Run, shop: Sandbox, monkeypatch):
    """A key that is refused is not kept."""
    for text in ("not-the-right-token\n", "two words\n", "\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert run("login").code == 3
    assert not config_file().exists()


def test_readable_by_others(run: Run, log_in):
    """A file of profiles that other users may read is refused."""
    log_in()
    config_file().chmod(0o640)
    ran = run("balance")
    assert ran.code == 3
    assert "chmod 600" in ran.err


@pytest.mark.parametrize("text", ["profiles = 3", "[profiles.default]\ntokn = 'x'", "]"])
def test_damaged(run: Run, text: str):
    """A damaged file of profiles is told by its path; its content is not shown."""
    config_file().parent.mkdir(parents=True)
    config_file().write_text(text)
    config_file().chmod(0o600)
    ran = run("balance")
    assert ran.code == 3
    assert str(config_file()) in ran.err
    assert "tokn" not in ran.err


def test_token_file(run: Run, shop: Sandbox, monkeypatch, tmp_path: Path):
    """``--token-file`` has priority, and reads the standard input too."""
    path = tmp_path / "token"
    path.write_text(f"{shop.token}\n")
    monkeypatch.setenv("ROAMIFY_TOKEN", "not-the-right-token")
    assert run("balance", "--token-file", path).code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(shop.token))
    assert run("balance", "--token-file", "-").code == 0
    assert run("balance", "--token-file", tmp_path / "none").code == 3
    assert run("balance", "--token-file", path, "--profile", "x").code == 2


def test_keyring(run: Run, shop: Sandbox, log_in, monkeypatch):
    """With ``--keyring`` the file has no key. Without the package, the command says what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "pip install keyring" in log_in("--keyring").err
    keys: dict[tuple[str, str], str] = {}
    fake = SimpleNamespace(
        set_password=lambda service, name, key: keys.update({(service, name): key}),
        get_password=lambda service, name: keys.get((service, name)),
        delete_password=lambda service, name: keys.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", fake)
    monkeypatch.setenv("ROAMIFY_BASE_URL", shop.url)
    assert log_in("--keyring").code == 0
    assert keys == {("roamify", "default"): shop.token}
    assert shop.token not in config_file().read_text()
    assert run("balance").code == 0
    assert run("logout").code == 0
    assert keys == {}


def test_no_option_takes_a_token(run: Run):
    """No option takes a key: arguments can be read by other users."""
    for arguments in (("--help",), ("login", "--help")):
        assert "--token " not in run(*arguments).out
    assert run("balance", "--token", "x").code == 2


def test_verbose(run: Run, shop: Sandbox):
    """``-vv`` logs what is sent, without the key. ``-q`` prints only errors."""
    ran = run("balance", "-v", "-v")
    assert ran.code == 0
    assert "token from ROAMIFY_TOKEN" in ran.err
    ran = run("packages", "--limit", "1", "-q")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.long
def test_traceback(program, shop: Sandbox):
    """A traceback, of a bug and with ``-v``, does not show the key."""
    broken = f"import roamify_async; roamify_async.Roamify.__enter__ = lambda self: 1 / 0\n{_RUN}"
    done = subprocess.run(
        [sys.executable, "-c", broken, "balance", "-v"], env=program, capture_output=True, text=True, check=False
    )
    assert "ZeroDivisionError" in done.stderr
    assert shop.token not in done.stderr + done.stdout


_RUN = "import sys; from roamify_async.cli import main; sys.exit(main())"


def test_sandbox(run: Run):
    """``--sandbox`` needs no key, and keeps its state from one command to the next."""
    bought = run("buy", "esim-greece-30days-1gb-all", "--sandbox", "--yes", "--ref", "r", "--json").json
    assert [esim["id"] for esim in run("esims", "--ref", "r", "--sandbox", "--json").json] == [bought[0]["id"]]
    offered = run("topups", bought[0]["iccid"], "--sandbox", "--columns", "packageId").out.splitlines()
    topped = run("topup", bought[0]["iccid"], offered[-1], "--sandbox", "--yes", "--ref", "t", "--json")
    assert topped.json["referenceId"] == "t"
    assert len(run("history", bought[0]["iccid"], "--sandbox").out.splitlines()) == 2
    assert run("whoami", "--sandbox").out.startswith("the sandbox\thttp://127.0.0.1:")
    assert run("topup", bought[0]["iccid"], "none", "--sandbox", "--yes").code == 1


def test_doctor(run: Run, shop: Sandbox, monkeypatch):
    """The doctor examines what a call needs. Its exit code says what is wrong; passwords of proxies are not shown."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret-password@proxy:1")
    ran = run("doctor", "--json")
    checks = {check["check"]: check for check in ran.json}
    assert ran.code == 0
    assert {"versions", "proxy", "DNS", "API", "key", "clock"} <= checks.keys()
    assert "HTTPS_PROXY" in checks["proxy"]["found"]
    assert "secret-password" not in ran.out
    monkeypatch.setenv("ROAMIFY_TOKEN", "not-the-right-token")
    assert run("doctor").code == 3
    shop.fail("GET", "*", "503", times=None)
    assert run("doctor").code == 5


@pytest.mark.parametrize("arguments", [("balance",), ("--help",)])
def test_installed_command(program, arguments):
    """The installed command is the same as ``python -m roamify_async.cli``."""
    from importlib.metadata import entry_points

    (found,) = entry_points(group="console_scripts", name="roamify")
    assert found.value == "roamify_async.cli:main"
    done = subprocess.run([*PROGRAM, *arguments], env=program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_library(run: Run, monkeypatch):
    """Without cyclopts, the exit code is 2 and one line says what to install."""
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    monkeypatch.delitem(sys.modules, "roamify_async.cli.app", raising=False)
    ran = run("balance")
    assert (ran.code, ran.err) == (2, "roamify needs cyclopts: pip install 'roamify-async[cli]'\n")


def test_imports(program):
    """The help imports no HTTP library; ``balance`` neither the sandbox nor libraries of other commands."""
    code = f"{_RUN.replace('sys.exit(main())', '')}\nmain(sys.argv[1:])\nprint(sorted(sys.modules), file=sys.stderr)"
    imported = {}
    for name in ("--help", "balance"):
        done = subprocess.run(
            [sys.executable, "-c", code, name], env=program, capture_output=True, text=True, check=True
        )
        imported[name] = {*json.loads(done.stderr.splitlines()[-1].replace("'", '"'))}
    unwanted = {"roamify_async.sandbox", "segno", "keyring", "jinja2", "psycopg", "pandas", "rich.progress"}
    unwanted |= {f"roamify_async.cli.{name}" for name in ("bulk", "purchases", "webhooks", "doctor", "catalogue")}
    assert not unwanted & imported["balance"]
    assert not (unwanted | {"aiohttp", "roamify_async.client"}) & imported["--help"]


def test_errors_have_exit_codes():
    """Every error of the library has an exit code and can be shown as JSON."""
    from roamify_async import errors
    from roamify_async.cli.context import Context
    from roamify_async.cli.failures import to_json

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RoamifyError)]
    for kind in kinds:
        facts = {"status": 400} if issubclass(kind, errors.APIStatusError) else {}
        shown = to_json(Context(), kind("text", reference_id="r", **facts))["error"]
        assert shown["exitCode"] in range(1, 7)
        assert json.dumps(shown)
