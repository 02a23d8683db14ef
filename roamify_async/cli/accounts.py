"""Where tokens come from: a file, a profile, or the environment. Never the arguments, which other users can read."""

import json
import os
import stat
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import attrs

from .exits import NO_TOKEN, CommandError

DEFAULT: Final = "default"
"""Name of the profile that is used if none is named."""
SERVICE: Final = "roamify"
"""Name under which tokens are in the keyring."""


@attrs.frozen(kw_only=True)
class Choice:
    """The account options of the command line."""

    profile: str | None = None
    token_file: str | None = None
    base_url: str | None = None
    sandbox: bool = False

    def words(self) -> tuple[str, ...]:
        """Return the options as arguments."""
        named = {"--profile": self.profile, "--token-file": self.token_file, "--base-url": self.base_url}
        words = [word for name, value in named.items() if value is not None for word in (name, value)]
        return (*words, *(["--sandbox"] if self.sandbox else ()))


@attrs.frozen(kw_only=True)
class Account:
    """A token, its base URL, and where they come from."""

    token: str = attrs.field(repr=False)
    base_url: str | None = None
    """``None`` is left to the client: ``ROAMIFY_BASE_URL``, or production."""
    source: str


@attrs.frozen(kw_only=True)
class Profile:
    """A profile of the configuration file. The token is in the file, or in the keyring of the system."""

    base_url: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    keyring: bool = False


def _folder(variable: str, windows: str, mac: str, other: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]) / "roamify"
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home()) / "roamify"
    return Path.home() / (mac if sys.platform == "darwin" else other) / "roamify"


def config_file() -> Path:
    """Return the path of the profiles, in the configuration folder of the platform."""
    return _folder("XDG_CONFIG_HOME", "APPDATA", "Library/Application Support", ".config") / "config.toml"


def state_folder() -> Path:
    """Return the folder for what the command remembers, such as its sandbox."""
    return _folder("XDG_STATE_HOME", "LOCALAPPDATA", "Library/Application Support", ".local/state")


def ledger_file(base_url: str | None) -> Path:
    """Return the path of the ledger of a host, in which each purchase is recorded before it is sent."""
    from roamify_async.settings import PRODUCTION

    host = base_url or os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    folder = state_folder()
    with suppress(OSError):  # Only a purchase needs it, and says why the ledger cannot be opened.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"purchases-{zlib.crc32(host.rstrip('/').encode()):08x}.db"


def resolve(choice: Choice) -> Account:
    """Return the account of ``--token-file``, ``--profile``, ``ROAMIFY_TOKEN``, or the default profile.

    Raises ``CommandError`` if there is no token, or it is not one. No message contains the token.
    """
    from roamify_async._http.credentials import Token

    account = _resolve(choice)
    if problem := Token(account.token).problem():
        raise _no_token(f"{problem} (from {account.source})")
    return account


def _resolve(choice: Choice) -> Account:
    if choice.token_file is not None:
        token, source = _read_token(choice.token_file), f"the file {choice.token_file}"
        return Account(token=token, base_url=choice.base_url, source=source)
    token = os.environ.get("ROAMIFY_TOKEN", "").strip()
    if choice.profile is None and token:
        return Account(token=token, base_url=choice.base_url, source="ROAMIFY_TOKEN")
    name = choice.profile or DEFAULT
    profile = read_profiles().get(name)
    if profile is None:
        if choice.profile is not None:
            raise _no_token(f"there is no profile {name!r} in {config_file()}")
        raise _no_token("no token: there is no ROAMIFY_TOKEN, and no default profile")
    token = (profile.token or "") if not profile.keyring else _from_keyring(name)
    base_url = choice.base_url or profile.base_url
    return Account(token=token, base_url=base_url, source=f"the profile {name}")


def _no_token(message: str) -> CommandError:
    hint = "set ROAMIFY_TOKEN, pass --token-file, or run: roamify login (--sandbox needs no token)"
    return CommandError(message, NO_TOKEN, hint)


def _read_token(path: str) -> str:
    try:
        return (sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise _no_token(f"the token file {path!r} cannot be read: {reason}") from None


# ---------------------------------------------------------------- profiles


def read_profiles() -> dict[str, Profile]:
    """Return the profiles by name.

    Raises ``CommandError`` if the file is damaged, or other users may read it.
    """
    import tomllib

    path = config_file()
    try:
        with path.open("rb") as file:
            _refuse_readable(path, os.fstat(file.fileno()).st_mode)
            tables = tomllib.load(file).get("profiles", {})
        return {name: Profile(**table) for name, table in cast("dict[str, dict[str, Any]]", tables).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise _no_token(f"the profiles in {path} cannot be read: {reason}") from None


def _refuse_readable(path: Path, mode: int) -> None:
    if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _no_token(f"other users may read {path}, which holds tokens: run chmod 600 {path}")


def write_profile(name: str, profile: Profile | None) -> Path:
    """Add, replace or remove a profile, and return the path of the file, which only its owner may read."""
    import tempfile

    profiles = read_profiles()
    profiles.pop(name, None)
    if profile is not None:
        profiles[name] = profile
    path = config_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("# Written by roamify login and logout, which keep no comments.\n")
            file.write("".join(_table(name, profile) for name, profile in profiles.items()))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _table(name: str, profile: Profile) -> str:
    fields = attrs.asdict(profile, filter=lambda _, value: value not in (None, False))
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]  # JSON text is TOML text
    return "\n".join((f"\n[profiles.{json.dumps(name)}]", *lines, ""))


# ---------------------------------------------------------------- keyring


def keyring() -> Any:
    """Return the library ``keyring``, which is optional."""
    try:
        import keyring  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise _no_token("the keyring needs the package keyring: pip install keyring") from None
    return keyring


def _from_keyring(name: str) -> str:
    return keyring().get_password(SERVICE, name) or ""
