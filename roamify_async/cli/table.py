"""All commands: their names, what they do in a line, and where they are.

An endpoint of the API is a ``Call``: its options and its help come from its request.
"""

from typing import Final

import attrs


@attrs.frozen
class Call:
    """A command that makes one call of the client, and shows the result."""

    name: str
    """Words of the command."""
    call: str
    """The call, such as ``"esims.list"``."""
    help: str
    """What it does, in a line."""
    columns: str = ""
    """Columns of tables, which spaces separate."""
    rows: str = ""
    """Field of the result that has the rows."""
    positional: str = ""
    """A keyword of the call that the command takes as its argument."""


@attrs.frozen
class Command:
    """A command with code of its own."""

    name: str
    target: str
    """Module of this package, and the name in it."""
    help: str


ORDER: Final = "id referenceId status total currency createdAt"
ESIM: Final = "id iccid status esim.lpaCode createdAt"
ITEM: Final = "packageId esimId price currency createdAt"
VOUCHER: Final = "id code status packageId referenceId createdAt"
USAGE: Final = "iccid status remainingData allowedData startedAt expiredAt"
POLICY: Final = "policyId status packageId startDate endDate policy.policyNo"
INSURANCE: Final = "id name countryName minPrice maxPrice"

GROUPS: Final[dict[str, tuple[Call | Command, ...]]] = {
    "Account": (
        Command("login", "session:login", "Ask for the API key, try it, and keep it in a profile."),
        Command("logout", "session:logout", "Remove a profile and its key."),
        Command("whoami", "session:whoami", "Show which key and which host are used, and the balance."),
        Command("doctor", "doctor:doctor", "Examine versions, clock, name resolution, TLS, proxy and key."),
        Call("balance", "account.balance", "Show the balance that purchases are paid from.", "balance currency"),
    ),
    "Catalogue": (
        Call("countries", "countries.list", "List countries and regions.", "code name geography"),
        Command("packages", "catalogue:packages", "Search the catalogue; show a package; compare two catalogues."),
        Call("devices", "devices.list", "List devices that support eSIMs.", "brand model deviceType os"),
    ),
    "Purchases": (
        Command("buy", "purchases:buy", "Buy eSIMs, and show their activation codes."),
        Command("topup", "purchases:topup", "Top up an eSIM."),
        Command("bulk", "bulk:bulk", "Buy the orders of a CSV file, and continue after an interruption."),
        Call(
            "reconcile", "orders.reconcile", "Look up a purchase in doubt by its reference. Nothing is bought.", ORDER
        ),
    ),
    "Orders and eSIMs": (
        Call("orders", "orders.list", "List orders.", ORDER),
        Call("order get", "orders.get", "Show an order.", ORDER, positional="order_id"),
        Call("esims", "esims.list", "List eSIMs.", ESIM),
        Call("esim", "esims.get", "Show an eSIM with its activation code.", ESIM, positional="iccid"),
        Command("apply", "purchases:apply", "Generate the profile of an eSIM, or of all eSIMs of an order."),
        Command("usage", "usage:usage", "Show the allowance of eSIMs and what is left of it."),
        Call("events", "esims.events", "List the events of an eSIM.", "iccid status timeStamp", "events", "iccid"),
        Call("history", "esims.history", "List the packages of an eSIM.", ITEM),
        Call("topups", "topups.packages", "List packages that fit an eSIM.", "packageId package day price"),
        Command("qr", "installing:qr", "Draw the QR code of an eSIM, or write it to a file."),
        Call("link", "esims.link", "Create an installation page for a traveller.", "link accessCode", "", "iccid"),
        Call("sms", "esims.send_sms", "Send a text message to an eSIM.", "status message"),
    ),
    "Other products": (
        Command("vouchers create", "purchases:create_vouchers", "Buy vouchers."),
        Call("vouchers list", "vouchers.list", "List vouchers.", VOUCHER),
        Call("vouchers get", "vouchers.get", "Show a voucher by its id.", VOUCHER),
        Call("vouchers find", "vouchers.get_by_code", "Show a voucher by its code.", VOUCHER),
        Call("vouchers revoke", "vouchers.revoke", "Revoke a voucher."),
        Call("insurance countries", "insurance.countries", "List countries with insurance.", "code name geography"),
        Call("insurance packages", "insurance.packages", "List insurance products.", INSURANCE),
        Call("insurance package", "insurance.package", "Show an insurance product.", INSURANCE),
        Command("insurance buy", "purchases:buy_insurance", "Order insurance policies."),
        Command("insurance apply", "purchases:apply_policy", "Issue a policy."),
        Call("insurance orders", "insurance.list_orders", "List insurance orders.", ORDER),
        Call("insurance order", "insurance.get_order", "Show an insurance order.", ORDER, positional="order_id"),
        Call("insurance policies", "insurance.policies", "List policies.", POLICY),
        Call("insurance policy", "insurance.policy", "Show a policy.", POLICY),
        Call("refund", "refunds.get", "Show a refund request.", "refundId status esimId reason rejectionReason"),
        Call("rates currencies", "rates.currencies", "List currencies with exchange rates."),
        Call("rates get", "rates.get", "Show exchange rates, of now or of the past."),
    ),
    "Tools": (
        Call("health", "service.health", "Check that the API is up.", "raw"),
        Command("api", "raw:api", "Send a request to any path of the API."),
        Command("webhooks listen", "webhooks:listen", "Receive webhooks on this machine, and print or forward them."),
        Command("webhooks verify", "webhooks:verify", "Check the signature of a delivery."),
        Command("webhooks trigger", "webhooks:trigger", "Send a signed example of an event to a receiver."),
        Command("completion", "app:completion", "Print a completion script for a shell."),
    ),
}

DELEGATED: Final[dict[str, tuple[str, str]]] = {
    "ledger": ("roamify_async.ledger.__main__", "Look after a ledger of purchases."),
    "worker": ("roamify_async.durable.__main__", "Work through batches of orders with other machines."),
    "sandbox": ("roamify_async.sandbox.__main__", "Run a sandbox, a stand-in for the API."),
    "tour": ("roamify_async.__main__", "See what the library does, against a sandbox."),
}
"""Commands that are programs of their own: their modules, and what they do."""

SECTIONS: Final[dict[str, str]] = {
    "order": "Show single orders.",
    "vouchers": "Vouchers, which travellers redeem for eSIMs.",
    "insurance": "Travel insurance, for citizens and residents of Saudi Arabia.",
    "rates": "Exchange rates.",
    "webhooks": "Receive, check and send webhooks.",
}
"""Commands that only have subcommands."""


def calls() -> dict[str, Call]:
    """Return the commands that make one call, by name."""
    return {row.name: row for rows in GROUPS.values() for row in rows if isinstance(row, Call)}
