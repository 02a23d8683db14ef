"""Ask the sandbox all that its OpenAPI description allows and forbids: what it answers is what the description says.

    python -m tests.contract.fuzz --cases 1000 --seed 1

Schemathesis makes the requests from what the sandbox serves at ``/openapi.json``: examples, the bounds of every
parameter, requests at random, well formed and not, and chains along the links of the description. Half of them name
orders, eSIMs and vouchers that there are. Failures come with the command to repeat them; the exit code is 0 only if
there was none. Other options go to ``schemathesis run``, such as ``--phases stateful`` or ``--max-time 600``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.options import OptionsKw

BALANCE: Final = 10**9
STRICT: Final[OptionsKw] = {"strict": True, "unknown_status": "refused"}
"""Options of a sandbox that refuses whatever the description forbids."""
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)
"""What is checked. Not among them: that well-formed requests are taken, for OpenAPI cannot say `one of two names`."""

SERVER_ERRORS: Final = {"createOrder", "createInstantOrder", "createTopUp"}
"""The operations that answer 500 to a caller's mistake, by the description: a package that there is not."""


def ask(sandbox: Sandbox, method: str, path: str, body: object = None) -> Any:  # JSON of every kind comes back
    """Send one request; return what is answered, without its envelope."""
    headers = {"Authorization": f"Bearer {sandbox.token}", "Content-Type": "application/json"}
    sent = urllib.request.Request(
        sandbox.url + path, json.dumps(body).encode() if body else None, headers, method=method
    )
    with urllib.request.urlopen(sent) as response:
        answer = json.load(response)
        return answer.get("data", answer)


def application(policy_id: str) -> dict[str, Any]:
    """Make a right request for a policy of a week, whatever is asked of travellers."""
    start = datetime.now(UTC) + timedelta(days=30)
    traveller = {"firstName": "Nora", "lastName": "Example", "nationality": "SA", "dateOfBirth": "31/12/1990"}
    return {
        "policyId": policy_id,
        "startDate": f"{start:%d/%m/%Y}",
        "endDate": f"{start + timedelta(days=7):%d/%m/%Y}",
        "mobile": "966500000000",
        "email": "traveller@example.com",
        "insurer": traveller | {"idNumber": "1012345678", "passportNumber": "A1234567"},
    }


def known(sandbox: Sandbox) -> Mapping[str, list[str]]:
    """Buy some of everything; return what may be asked for by the names that parameters have."""
    plain, dated = sandbox.kinds["plain"][:2], sandbox.kinds["travel_date"][:1]
    lines = [{"packageId": package, "quantity": 1} for package in plain + dated]
    order = ask(sandbox, "POST", "/api/esim/order", {"items": lines, "referenceId": "mine"})
    bought = ask(sandbox, "POST", "/api/esim/order/instant", {"items": lines[:2], "referenceId": "at-once"})
    batch = ask(sandbox, "POST", "/api/esim/vouchers", {"packageId": plain[0], "quantity": 10, "referenceId": "batch"})
    covers = ask(sandbox, "GET", "/api/insurance/packages")["packages"]
    insurances = [cover["packageId"] for product in covers for cover in product["packages"]]
    lines = [{"packageId": package, "quantity": 1} for package in insurances[:5]]
    insured = ask(sandbox, "POST", "/api/insurance/order", {"items": lines, "referenceId": "insured"})
    esims = [item["esimId"] for item in order["items"]] + [esim["id"] for esim in bought["esims"]]
    dates = application("")
    return {
        "packageId": [*plain, *dated],
        "insurance": insurances,
        "esimId": esims,
        "iccid": [esim["iccid"] for esim in bought["esims"]],
        "orderId": [order["id"], bought["id"], insured["id"]],
        "referenceId": ["mine", "at-once", "batch", "insured"],
        "voucherId": [voucher["id"] for voucher in batch["vouchers"]],
        "code": [voucher["code"] for voucher in batch["vouchers"]],
        "policyId": [item["policyId"] for item in insured["items"]],
        "refundId": [ask(sandbox, "POST", "/_sandbox/refunds", {"esimId": esim})["refundId"] for esim in esims],
        "uniqueName": ["sandbox"],
        "startDate": ["2030-01-01", dates["startDate"]],
        "endDate": [dates["endDate"]],
        **{name: [dates["insurer"][name]] for name in ("dateOfBirth", "idNumber", "passportNumber")},
    }


def settings(names: Mapping[str, list[str]]) -> Iterator[str]:
    """Write the settings of Schemathesis: what exists, which server errors are meant, and only methods there are."""
    for name, values in names.items():
        yield f"[dictionaries.{name}]\nvalues = {json.dumps(values)}\n"
    yield "[phases.coverage]\nunexpected-methods = []\n"
    yield "[parameters]"
    for name in names:
        for place in ("query", "path", "body", "body.items[*]", "body.insurer"):
            yield f'"{place}.{name}" = {{ dictionary = "{name}", probability = 0.5 }}'
    yield '\n[[operations]]\ninclude-tag = "insurance"'
    for place in ("query", "body.items[*]"):
        yield f'parameters."{place}.packageId" = {{ dictionary = "insurance", probability = 0.9 }}'
    for operation in sorted(SERVER_ERRORS):
        yield f'\n[[operations]]\ninclude-operation-id = "{operation}"'
        yield 'checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "500"]'


def run(sandbox: Sandbox, *, cases: int, seed: int, more: Sequence[str] = ()) -> int:
    """Run so many cases of each operation; return the exit code of Schemathesis."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schemathesis.toml").write_text("\n".join(settings(known(sandbox))), "utf-8")
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{sandbox.url}/openapi.json"]
        command += ["--header", f"Authorization: Bearer {sandbox.token}", "--checks", ",".join(CHECKS)]
        command += ["--max-examples", str(cases), "--seed", str(seed), "--generation-database", "none"]
        command += ["--continue-on-failure", "--warnings", "off", "--no-color", *more]
        return subprocess.run(command, cwd=folder, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run Schemathesis against a sandbox of its own; 1 where an answer is not as described."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.fuzz", description="Hold answers to the contract.")
    parser.add_argument("--cases", type=int, default=100, help="at random, of each operation")
    parser.add_argument("--seed", type=int, default=1)
    asked, more = parser.parse_known_args(arguments)
    with Sandbox(packages=300, balance=BALANCE, **STRICT) as sandbox:
        return run(sandbox, cases=asked.cases, seed=asked.seed, more=more)


if __name__ == "__main__":
    raise SystemExit(main())
