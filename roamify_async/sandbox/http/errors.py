"""Error responses in the three JSON shapes of the API, and the messages that are used in several places."""

from typing import Final

from roamify_async.sandbox.data.encoding import dumps

from .responses import Response, express_page

UNAUTHORIZED: Final = "Unauthorized, please make sure your have the correct api key"
DUPLICATE_REFERENCE: Final = "Order with the same referenceId already exists, please use another one"
INSUFFICIENT_BALANCE: Final = "Insufficient partner balance, please make sure your have enough balance and try again"
ESIM_PENDING: Final = "eSIM is still pending processing, please try again later"
POLICY_PENDING: Final = "This policy is currently being issued, please check its status later"


class ApiError(Exception):
    """A request that cannot be served; carries the response."""

    def __init__(self, response: Response) -> None:
        """Create the error with its response."""
        super().__init__(response.text)
        self.response = response


def failed(status: int, message: str) -> Response:
    """Return an error response with `message` and `status`, the shape of business errors."""
    return Response(status, dumps({"message": message, "status": "failed"}))


def error(status: int, message: str) -> ApiError:
    """Create the error for a request that is valid but cannot be carried out."""
    return ApiError(failed(status, message))


def coded_error(status: int, message: str, code: str, **more: str) -> ApiError:
    """Create an error with a machine-readable `code`, the shape of refund errors."""
    return ApiError(Response(status, dumps({"message": message, "status": "failed", "code": code, **more})))


def invalid(message: str, status: int = 400) -> ApiError:
    """Create the error for a request that fails validation, with the single key `error`."""
    return ApiError(Response(status, dumps({"error": message})))


def unknown_route(method: str, path: str) -> ApiError:
    """Create the 404 for an endpoint that does not exist: an HTML page, as Express sends it."""
    return ApiError(express_page(404, f"Cannot {method} {path}"))


def esim_not_found() -> ApiError:
    """Create the 404 for an unknown eSIM."""
    return error(404, "eSIM not found, please make sure your have the correct iccid or esimId")
