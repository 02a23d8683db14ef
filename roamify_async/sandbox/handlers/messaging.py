"""The endpoints that reach a traveller: a message to an eSIM, and a link that shows it."""

from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from roamify_async.sandbox.context import Call, World, known
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.http.responses import Answer, bare, refused, success
from roamify_async.sandbox.http.validation import Shape, text
from roamify_async.sandbox.state.records import Esim, Link, Message

_SMS = Shape({"iccid": text, "message": text}, required=frozenset({"iccid", "message"}))
_LINK = Shape({"iccid": text, "esimId": text}, one_of=("iccid", "esimId"))
_KEY: Final = 8
_PAGES: Final = "https://dev.esims.link/partner/"


def sms(world: World, call: Call) -> Answer:
    """Send a message; undocumented: its answer, and that every text to every applied eSIM is taken."""
    body = _SMS.read(call.body)
    esim = _named(world, {"iccid": body["iccid"]})
    world.messages.keep(Message(esim.id, body["message"], int(world.now())))
    if world.options.sms_answer == "message":
        return bare({"status": "success", "message": "SMS sent successfully"})
    return success({"iccid": esim.iccid, "message": "SMS sent successfully"})


def link(world: World, call: Call) -> Answer:
    """Give the link of an applied eSIM; undocumented: whether it is the same one each time."""
    esim = _named(world, _LINK.read(call.body))
    if not esim.iccid:
        raise refused(400, "The eSIM profile must be generated first")
    links = world.links.listed(esim_id=esim.id)
    if not links or world.options.link_again == "new":
        made = uuid4()
        links = [Link(esim.id, made.hex[:_KEY].upper(), f"{made.int % 10_000:04}", int(world.now()))]
        world.links.keep(*links)
    return success(_shown(esim, links[0]))


def kept(world: World) -> list[Json]:
    """Show every message that was sent, oldest first."""
    messages = reversed(world.messages.listed())
    return [{"esimId": message.esim_id, "message": message.text, "sentAt": message.at} for message in messages]


def _named(world: World, names: dict[str, Any]) -> Esim:
    return known(world.store.esim(id=names.get("esimId"), iccid=names.get("iccid")))


def _shown(esim: Esim, link: Link) -> Json:
    url = f"{_PAGES}{link.key}"
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
