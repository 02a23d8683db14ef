"""The endpoints that send a text message to an eSIM, and create a link to its web page."""

from typing import Final
from urllib.parse import quote
from uuid import uuid4

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.http.errors import error
from roamify_async.sandbox.http.responses import Response, bare, success
from roamify_async.sandbox.http.validation import Schema, text
from roamify_async.sandbox.state.records import Esim, Link, Message

_SMS = Schema({"iccid": text, "message": text}, required=frozenset({"iccid", "message"}))
_LINK = Schema({"iccid": text, "esimId": text}, one_of=("iccid", "esimId"))
_KEY_LENGTH: Final = 12
_BASE_URL: Final = "https://dev.esims.link/partner/"


def send_sms(context: Context, request: Request) -> Response:
    """Send a message; undocumented: the response, and that any text is accepted for any applied eSIM."""
    body = _SMS.parse(request.body)
    esim = context.find_esim(iccid=body["iccid"])
    context.messages.insert(Message(esim.id, body["message"], int(context.now())))
    if context.options.sms_answer == "message":
        return bare({"status": "success", "message": "SMS sent successfully"})
    return success({"iccid": esim.iccid, "message": "SMS sent successfully"})


def link(context: Context, request: Request) -> Response:
    """Return a link for an applied eSIM; undocumented: whether a second one is the same."""
    query = _LINK.parse(request.body)
    esim = context.find_esim(id=query.get("esimId"), iccid=query.get("iccid"))
    if not esim.iccid:
        raise error(400, "The eSIM profile must be generated first")
    links = context.links.select(esim_id=esim.id)
    if not links or context.options.link_again == "new":
        random = uuid4()
        links = [Link(esim.id, random.hex[:_KEY_LENGTH].upper(), f"{random.int % 10_000:04}", int(context.now()))]
        context.links.insert(*links)
    return success(_to_json(esim, links[0]))


def _to_json(esim: Esim, link: Link) -> Json:
    url = f"{_BASE_URL}{link.key}"
    invitation = quote(f"Your eSIM is ready: {url} (access code {link.access_code})", safe="")
    return {
        "iccid": esim.iccid,
        "esimId": esim.id,
        "link": url,
        "whatsappLink": f"https://api.whatsapp.com/send?text={invitation}",
        "key": link.key,
        "accessCode": link.access_code,
        "createdAt": link.created_at,
        "updatedAt": link.created_at,
    }
