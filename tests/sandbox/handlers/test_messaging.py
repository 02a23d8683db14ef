"""The endpoints of messages and links."""

from urllib.parse import parse_qs, urlsplit

from support.partner import partner_of

SMS, LINK = "/api/esim/sms", "/api/esim/link"
PLAIN = "esim-greece-30days-1gb-all"


async def test_a_message_is_sent_each_time():
    """Every call sends; the state shows what came for whom; the answer is one of two."""
    for answer in ["data", "message"]:
        async with partner_of(sms_answer=answer) as partner:
            esim = await partner.applied(PLAIN)
            for text in ("hello", "hello", "Γειά"):
                sent = await partner.post(SMS, {"iccid": esim["iccid"], "message": text})
                assert (sent["status"], answer in sent) == ("success", True)
            messages = partner.sandbox.state()["messages"]
            assert [(message["esimId"], message["message"]) for message in messages] == [
                (esim["id"], "hello"),
                (esim["id"], "hello"),
                (esim["id"], "Γειά"),
            ]


async def test_a_message_needs_an_esim_and_a_text(partner):
    """A missing, empty or wrongly typed field is 400, an unknown ICCID 404; nothing is sent."""
    esim = await partner.applied(PLAIN)
    assert await partner.post(SMS, {"message": "x"}, status=400) == {"error": '"iccid" is required'}
    body = {"iccid": esim["iccid"]}
    assert await partner.post(SMS, body, status=400) == {"error": '"message" is required'}
    answer = await partner.post(SMS, body | {"message": ""}, status=400)
    assert answer == {"error": '"message" is not allowed to be empty'}
    assert await partner.post(SMS, body | {"message": 5}, status=400) == {"error": '"message" must be a string'}
    assert (await partner.post(SMS, {"iccid": "8900", "message": "x"}, status=404))["status"] == "failed"
    assert partner.sandbox.state()["messages"] == []


async def test_a_link_is_the_same_under_both_names_and_each_time(partner):
    """ICCID and eSIM id give one link; the code is four digits; the invitation holds the link."""
    esim = await partner.applied(PLAIN)
    link = (await partner.post(LINK, {"iccid": esim["iccid"]}))["data"]
    assert link.keys() == {
        "iccid", "esimId", "link", "whatsappLink", "key", "accessCode", "createdAt", "updatedAt",
    }  # fmt: skip
    assert (link["iccid"], link["esimId"], link["updatedAt"]) == (esim["iccid"], esim["id"], link["createdAt"])
    assert link["link"] == f"https://dev.esims.link/partner/{link['key']}"
    assert len(link["accessCode"]) == 4
    assert link["accessCode"].isdecimal()
    assert link["link"] in parse_qs(urlsplit(link["whatsappLink"]).query)["text"][0]
    assert (await partner.post(LINK, {"esimId": esim["id"]}))["data"] == link
    other = await partner.applied(PLAIN)
    assert (await partner.post(LINK, {"esimId": other["id"]}))["data"]["key"] != link["key"]


async def test_a_link_can_be_new_each_time():
    """The other meaning of a repeated call: another key."""
    async with partner_of(link_again="new") as partner:
        esim = await partner.applied(PLAIN)
        links = [(await partner.post(LINK, {"esimId": esim["id"]}))["data"] for _ in range(3)]
        assert len({link["key"] for link in links}) == 3


async def test_a_link_needs_a_profile_and_one_name(partner):
    """An eSIM that is not applied is 400, as are both names and none; an unknown one is 404."""
    order = (await partner.buy(PLAIN))["data"]
    answer = await partner.post(LINK, {"esimId": order["items"][0]["esimId"]}, status=400)
    assert "profile" in answer["message"]
    answer = await partner.post(LINK, {}, status=400)
    assert answer == {"error": '"value" must contain at least one of [iccid, esimId]'}
    assert "conflict" in (await partner.post(LINK, {"iccid": "1", "esimId": "1"}, status=400))["error"]
    assert (await partner.post(LINK, {"iccid": "1"}, status=404))["status"] == "failed"
    assert (await partner.post(LINK, {"iccid": ["1"]}, status=400)) == {"error": '"iccid" must be a string'}
