"""The shapes of the API's answers: success, and its two shapes of refusal."""

from attrs import field, frozen

from .packages import dumps

JSON_TYPE = "application/json; charset=utf-8"


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


def success(data: object) -> Answer:
    """Answer 200 with the data in its envelope."""
    return success_text(dumps(data))


def success_text(data: str) -> Answer:
    """Answer 200 with data that is JSON text already."""
    return Answer(200, f'{{"status":"success","data":{data}}}')


def bare(body: object) -> Answer:
    """Answer 200 with a body that has no envelope."""
    return Answer(200, dumps(body))


def failed(status: int, message: str) -> Answer:
    """Answer as the API does when it understood the request and will not do it."""
    return Answer(status, dumps({"message": message, "status": "failed"}))


def refused(status: int, message: str) -> Refusal:
    """Make the refusal of a request that is well formed but cannot be done."""
    return Refusal(failed(status, message))


def invalid(message: str) -> Refusal:
    """Make the refusal of a request that is not well formed."""
    return Refusal(Answer(400, dumps({"error": message})))
