"""The traveller's phone, played through the sandbox's control plane."""

import json
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit


def use_data(url: str, iccid: str, megabytes: int) -> None:
    """Install the eSIM and use so much data; raises ``OSError`` where the sandbox does not let it."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("POST", "/_sandbox/esims", json.dumps({"iccid": iccid, "usedData": megabytes}))
        answer = connection.getresponse()
        said = answer.read().decode()
    except HTTPException as error:
        raise OSError(f"the sandbox did not answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:  # noqa: PLR2004
        raise OSError(f"the sandbox refused: {said}")
