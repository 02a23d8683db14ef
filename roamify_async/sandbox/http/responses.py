"""The shapes of the API's answers: success, its three shapes of refusal, and a gateway's page."""

from typing import Final

from attrs import field, frozen

from roamify_async.sandbox.data.packages import dumps

JSON_TYPE: Final = "application/json; charset=utf-8"

_PAGE: Final = """<!DOCTYPE html>
<html lang="en-US"><head><title>{status} | api.getroamify.com</title></head>
<body><h1>Error {status}</h1><p>{text}</p><hr><center>cloudflare</center></body></html>
"""


@frozen
class Answer:
    """One HTTP answer, before it meets a connection."""

    status: int
    text: str
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(factory=dict[str, str])


class Refusal(Exception):  # noqa: N818 - the API refuses; nothing here went wrong
    """Raised by whatever finds that the request cannot be served; carries the answer."""

    def __init__(self, answer: Answer) -> None:
        """Refuse with this answer."""
        super().__init__(answer.text)
        self.answer = answer


def success(data: object, status: int = 200) -> Answer:
    """Answer with the data in its envelope."""
    return success_text(dumps(data), status)


def success_text(data: str, status: int = 200) -> Answer:
    """Answer with data that is JSON text already."""
    return Answer(status, f'{{"status":"success","data":{data}}}')


def bare(body: object) -> Answer:
    """Answer 200 with a body that has no envelope."""
    return Answer(200, dumps(body))


def failed(status: int, message: str) -> Answer:
    """Answer as the API does when it understood the request and will not do it."""
    return Answer(status, dumps({"message": message, "status": "failed"}))


def refused(status: int, message: str) -> Refusal:
    """Make the refusal of a request that is well formed but cannot be done."""
    return Refusal(failed(status, message))


def coded(status: int, message: str, code: str, **more: str) -> Refusal:
    """Make the refusal of a refund, which has a code for programs to read."""
    return Refusal(Answer(status, dumps({"message": message, "status": "failed", "code": code, **more})))


def page(status: int, message: str) -> Answer:
    """Answer as a gateway does: with a page for people."""
    return Answer(status, _PAGE.format(status=status, text=message), "text/html; charset=UTF-8")


def invalid(message: str) -> Refusal:
    """Make the refusal of a request that is not well formed."""
    return Refusal(Answer(400, dumps({"error": message})))
