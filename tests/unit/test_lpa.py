"""Activation codes, the links that install them, check digits, and QR codes."""

import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, strategies as st

from roamify_async import Esim, EsimStatus, Profile, lpa

CODE = "LPA:1$smdp.example.com$SECRET-1"


def ready() -> Esim:
    """Return an eSIM with an activation code."""
    return Esim(id="e", iccid="8985", status=EsimStatus.READY, esim=Profile(lpa_code=CODE))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (CODE, ("smdp.example.com", "SECRET-1", None, False)),
        ("1$SMDP.GSMA.COM$04386-AGYFT-A74Y8-3F815", ("SMDP.GSMA.COM", "04386-AGYFT-A74Y8-3F815", None, False)),
        ("lpa:1$SMDP.GSMA.COM$A$$1", ("SMDP.GSMA.COM", "A", None, True)),
        (" LPA:1$SMDP.GSMA.COM$A$1.3.6.1.4.1.31746$1\n", ("SMDP.GSMA.COM", "A", "1.3.6.1.4.1.31746", True)),
        ("LPA:1$SMDP.GSMA.COM$A$1.3.6.1.4.1.31746", ("SMDP.GSMA.COM", "A", "1.3.6.1.4.1.31746", False)),
        ("LPA:1$SMDP.GSMA.COM$$1.3.6.1.4.1.31746", ("SMDP.GSMA.COM", "", "1.3.6.1.4.1.31746", False)),
    ],
)
def test_parse(text, parts):
    """The examples of SGP.22 are read, and written as they were."""
    code = lpa.parse(text)
    assert (code.smdp_address, code.matching_id, code.smdp_oid, code.needs_confirmation) == parts
    assert str(code)[4:] == text.strip().removeprefix("LPA:").removeprefix("lpa:")
    assert lpa.parse(str(code)) == code


@pytest.mark.parametrize(
    "text",
    [
        "", "LPA:", "LPA:1", "LPA:1$smdp.example.com", "LPA:2$smdp.example.com$SECRET", "LPA:1$$SECRET",
        "LPA:1$http://smdp.example.com$SECRET", "LPA:1$smdp$SECRET", "LPA:1$smdp.example.com$SEC RET",
        "LPA:1$smdp.example.com$SECR\u00c9T", "LPA:1$smdp.example.com$SECRET$oid", "LPA:1$smdp.example.com$SECRET$$2",
        "LPA:1$smdp.example.com$SECRET$$1$", f"LPA:1$smdp.example.com$SECRET{'X' * 255}", "https://example.com/SECRET",
        "LPA:1$smdp.example.com\n$SECRET",
    ],
)  # fmt: skip
def test_not_an_activation_code(text):
    """Anything else is refused, and the code is not in the message."""
    with pytest.raises(ValueError, match="not an activation code") as caught:
        lpa.parse(text)
    assert "SECR" not in str(caught.value)


@given(st.text())
def test_any_text(text):
    """Any text is an activation code or a ``ValueError``."""
    try:
        code = lpa.parse(text)
    except ValueError:
        return
    assert lpa.parse(str(code)) == code


def test_install_links():
    """The code in the links is percent-encoded, and no code is in a ``repr``."""
    links = lpa.install_links(CODE)
    encoded = "carddata=LPA%3A1%24smdp.example.com%24SECRET-1"
    assert links.apple == f"https://esimsetup.apple.com/esim_qrcode_provisioning?{encoded}"
    assert links.android == f"https://esimsetup.android.com/esim_qrcode_provisioning?{encoded}"
    odd = lpa.parse("LPA:1$smdp.example.com$A&b=c#d%41+e")
    for link in (lpa.install_links(odd).apple, lpa.install_links(odd).android):
        assert parse_qs(urlsplit(link).query) == {"carddata": [str(odd)]}
    assert "SECRET" not in repr((links, lpa.parse(CODE)))
    with pytest.raises(ValueError, match="not an activation code"):
        lpa.install_links("https://example.com")


def test_check_digit():
    """The check digit of an ICCID is that of Luhn."""
    assert lpa.luhn_ok("8944500102198304826")
    assert not lpa.luhn_ok("8944500102198304825")
    assert lpa.luhn_ok("79927398713")
    for text in ("", "0", "8944 5001", "894450010219830482F", "\u0668\u0669"):
        assert not lpa.luhn_ok(text)


@given(st.text("0123456789", min_size=2, max_size=22), st.data())
def test_wrong_digits(digits, data):
    """Exactly one last digit is right, and no other digit in its place."""
    body = digits[:-1]
    right = [digit for digit in "0123456789" if lpa.luhn_ok(body + digit)]
    assert len(right) == 1
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != body[place]]))
    assert not lpa.luhn_ok(body[:place] + other + body[place + 1 :] + right[0])


# ---------------------------------------------------------------- QR codes


def test_qr(tmp_path):
    """The QR code is an SVG image, a PNG file and text for a terminal, and a picture in a notebook."""
    segno = pytest.importorskip("segno")
    code = ready().qr()
    assert code.svg().startswith("<svg")
    assert code._repr_svg_() == code.svg()
    path = tmp_path / "esim.png"
    code.png(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    drawn = code.terminal()
    assert len({len(line) for line in drawn.splitlines()}) == 1
    assert "SECRET" not in repr(code)
    assert segno.make(CODE, micro=False).matrix == code._code().matrix


def test_qr_without_a_profile():
    """An eSIM without a profile has no QR code."""
    with pytest.raises(ValueError, match=r"has no activation code yet.*esims\.apply"):
        Esim(id="e").qr()


def test_qr_without_the_extra(monkeypatch):
    """If segno is missing, the error names the extra."""
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(ImportError, match=r"pip install 'roamify-async\[qr\]'"):
        ready().qr().svg()


def test_nothing_is_imported_early():
    """What draws and tabulates is imported at its first use."""
    code = (
        "import sys, roamify_async as r; r.Catalogue, r.Esim, r.Roamify, r.lpa; "
        "sys.exit(bool({'segno', 'pandas', 'polars', 'pyarrow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
