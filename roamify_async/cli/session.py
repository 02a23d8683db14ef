"""The commands ``login``, ``logout`` and ``whoami``."""

import os
import sys
from decimal import Decimal
from getpass import getpass
from typing import Annotated, Final

import attrs
from cyclopts import Parameter

from roamify_async._http.credentials import Token
from roamify_async.settings import PRODUCTION

from .accounts import DEFAULT, SERVICE, Account, Profile, config_file, keyring, read_profiles, write_profile
from .context import current
from .exits import NO_TOKEN, REFUSED, CommandError
from .output import View, show
from .parameters import Flag

IDENTITY: Final = View.of("source host balance currency")


@attrs.frozen(kw_only=True)
class Identity:
    """The account in use."""

    source: str
    """Where the key comes from."""
    host: str
    balance: Decimal
    currency: str


def login(*, keyring_: Annotated[Flag, Parameter(name="--keyring")] = False) -> None:
    """Ask for the API key, try it, and keep it in a profile, which only you may read.

    In a pipe, the key is read from the standard input. `--profile NAME` names the profile, and `--base-url` or `--dev`
    the API that it belongs to. Tokens are the API keys of the partner portal.

    Args:
        keyring_: Keep the key in the keyring of the system, which needs the package `keyring`.
    """
    context = current()
    if context.choice.sandbox or context.choice.token_file:
        raise ValueError("login asks for the key: it takes no --sandbox and no --token-file")
    store = keyring() if keyring_ else None
    name = context.choice.profile or DEFAULT
    base_url = context.choice.base_url or os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    token = Token(getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline())
    if problem := token.problem():
        raise CommandError(problem, NO_TOKEN)
    identity = _try(Account(token=token.value, base_url=base_url, source=f"the profile {name}"))
    if store is not None:
        store.set_password(SERVICE, name, token.value)
        write_profile(name, Profile(base_url=base_url, keyring=True))
    else:
        write_profile(name, Profile(base_url=base_url, token=token.value))
    show(context, identity, IDENTITY)
    context.say(f"the key works, and is kept as the profile {name} in {config_file()}")
    if os.environ.get("ROAMIFY_TOKEN") and context.choice.profile is None:
        context.say("ROAMIFY_TOKEN is set, and has priority over the default profile")


def _try(account: Account) -> Identity:
    """Read the balance."""
    from roamify_async import Roamify

    base_url = account.base_url or os.environ.get("ROAMIFY_BASE_URL") or PRODUCTION
    with Roamify(account.token, base_url=base_url) as client:
        found = client.account.balance()
    return Identity(source=account.source, host=base_url, balance=found.balance, currency=found.currency)


def logout() -> None:
    """Remove a profile and its key: the default one, or that of `--profile NAME`."""
    context = current()
    name = context.choice.profile or DEFAULT
    profile = read_profiles().get(name)
    if profile is None:
        raise CommandError(f"there is no profile {name!r} in {config_file()}", REFUSED)
    if profile.keyring:
        keyring().delete_password(SERVICE, name)
    write_profile(name, None)
    context.say(f"the profile {name} is removed")


def whoami() -> None:
    """Show where the key comes from, which host it is for, and the balance."""
    context = current()
    IDENTITY.chosen(context)
    with context.account() as account:
        identity = _try(account)
    show(context, identity, IDENTITY)
