"""What notebooks show: tables of values in which everything is escaped."""

import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from roamify_async import (
    Balance,
    Catalogue,
    CatalogueDiff,
    Destination,
    Esim,
    EsimStatus,
    InstantOrder,
    Order,
    OrderItem,
    OrderLine,
    OrderStatus,
    Package,
    PackagePage,
    PriceChange,
    Profile,
    Usage,
    UsageDetails,
    load_ipython_extension,
)
from roamify_async.models.packages import DestinationGroup

EVIL = "<script>alert('x')</script>&\""
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def offer(text: str) -> Package:
    """Return a package with a text in all that is shown."""
    place = Destination(country_name=text)
    return Package(
        package_id=text, price=Decimal("3.1"), data_unit=text, data_amount=Decimal(1), day=1, destination=place
    )


def values(text: str) -> dict[str, object]:
    """Return values with a text in all that is shown."""
    package = offer(text)
    line = OrderLine(package_id=text, esim_id=text, price=Decimal("3.1"), currency=text)
    esim = Esim(id=text, iccid=text, status=EsimStatus(text), created_at=NOW)
    order = {"id": text, "reference_id": text, "status": OrderStatus(text), "total": Decimal("3.1"), "currency": text}
    return {
        "package": package,
        "catalogue": Catalogue((package,)),
        "page": PackagePage(groups=(DestinationGroup(destination=package.destination, packages=(package,)),)),
        "change": PriceChange(package, package),
        "diff": CatalogueDiff((package,), (package,), (PriceChange(package, package),)),
        "esim": esim,
        "line": line,
        "order": Order(**order, items=(line,)),
        "instant": InstantOrder(**order, esims=(esim,)),
        "balance": Balance(balance=Decimal("3.1"), currency=text),
        "usage": Usage(iccid=text, status=EsimStatus(text), remaining_data=Decimal(1), expired_at=NOW),
        "details": UsageDetails(iccid=text, status=EsimStatus(text)),
    }


class Texts(HTMLParser):
    """Collects the tags and texts of a page."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note a tag."""
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


@pytest.mark.parametrize("name", values(""))
def test_everything_is_escaped(name):
    """A value that looks like markup is text, and the texts that people look for are there."""
    page = values(EVIL)[name]._repr_html_()
    read = Texts(page)
    assert read.tags <= {"p", "b", "table", "tr", "th", "td"}
    assert any(EVIL in text for text in read.texts)
    assert "<script" not in page


@pytest.mark.parametrize("name", ["package", "catalogue", "change", "line", "order", "instant", "balance"])
def test_money(name):
    """Money is shown as money."""
    assert "3.10 USD" in values("USD")[name]._repr_html_()


def test_cells():
    """A value is a table with a line for each fact that is known."""
    esim = Esim(id="e", status=EsimStatus.NEW)
    assert Texts(esim._repr_html_()).texts == ["Esim", "eSIM", "e", "status", "NEW"]
    usage = Usage(iccid="8985", allowed_data=Decimal(1024), remaining_data=Decimal("924.5"), expired_at=NOW)
    assert Texts(usage._repr_html_()).texts[-4:] == ["data left", "924.5 of 1024", "ends", "2026-07-01 12:00 UTC"]


def test_long_tables_are_cut():
    """A catalogue shows its first packages, and how many there are."""
    page = Catalogue(tuple(offer(f"p-{number}") for number in range(33)))._repr_html_()
    assert page.count("<tr>") == 21
    assert "33 packages" in page
    assert "and 13 more" in page
    assert Catalogue()._repr_html_()


def test_values_without_a_table():
    """A value that is not looked at has no table, so that a notebook shows its ``repr``."""
    assert OrderItem("p")._repr_html_() is None


def test_qr_code_of_an_esim(monkeypatch):
    """An eSIM that can be installed is shown with its QR code, if what draws it is there, and never with its code."""
    pytest.importorskip("segno")
    profile = Profile(lpa_code="LPA:1$smdp.example.com$SECRET")
    page = Esim(id="e", status=EsimStatus.READY, esim=profile)._repr_html_()
    assert re.search(r"</table><svg .*</svg>$", page)
    assert "SECRET" not in page
    for status in (EsimStatus.NEW, EsimStatus.EXPIRED):
        assert "<svg" not in Esim(id="e", status=status, esim=profile)._repr_html_()
    monkeypatch.setitem(sys.modules, "segno", None)
    assert "<svg" not in Esim(id="e", status=EsimStatus.READY, esim=profile)._repr_html_()


def test_extension():
    """The extension of IPython shows tuples of values as a table, and leaves other tuples alone."""
    printers: dict[type, object] = {}
    formatter = SimpleNamespace(for_type=printers.__setitem__)
    load_ipython_extension(SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": formatter})))
    show = printers[tuple]
    page = show((Balance(balance=Decimal(3)), Balance(balance=Decimal("3.1"))))
    assert Texts(page).texts == ["2 x Balance", "balance", "3.00 USD", "3.10 USD"]
    for other in ((), (1, 2), (Balance(balance=Decimal(3)), 2), (OrderItem("p"),)):
        assert show(other) is None
