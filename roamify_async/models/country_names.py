"""Other spellings of the names and codes of countries, which filters accept."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final, Protocol


class Place(Protocol):
    """A country or region for which something is sold."""

    @property
    def code(self) -> str:
        """Its code."""
        ...

    @property
    def name(self) -> str:
        """Its English name."""
        ...


_COMMON_NAMES: Final = """
    AE UAE, U A E, Emirates; BA Bosnia, Bosnia Herzegovina; BN Brunei Darussalam; BO Plurinational State of Bolivia;
    BQ Caribbean Netherlands; CD DRC, DR Congo, Congo Kinshasa, Congo DR, Zaire, Democratic Republic of Congo;
    CG Republic of the Congo, Congo Brazzaville, Congo Republic; CI Ivory Coast;
    CN PRC, Mainland China, People's Republic of China; CV Cape Verde; CZ Czech Republic; FK Malvinas, Falklands;
    FM Federated States of Micronesia;
    GB UK, U K, GBR, Great Britain, Britain, England, Scotland, Wales, Northern Ireland,
    United Kingdom of Great Britain and Northern Ireland; HK Hong Kong SAR, Hongkong; IE Republic of Ireland, Eire;
    IR Islamic Republic of Iran, Persia; KP DPRK, Democratic People's Republic of Korea;
    KR Korea, Republic of Korea, S Korea; LA Lao PDR, Lao People's Democratic Republic; MD Republic of Moldova;
    MK Macedonia, FYROM; MM Burma; MO Macau; NL Holland;
    PS Palestinian Territory, Palestinian Territories, State of Palestine; RU Russian Federation;
    SA KSA, Kingdom of Saudi Arabia; ST Sao Tome; SY Syrian Arab Republic; SZ Swaziland; TC Turks and Caicos;
    TL East Timor; TR Turkey; TT Trinidad; TW Chinese Taipei; TZ United Republic of Tanzania;
    US USA, U S A, U S, United States of America, America; VA Vatican, Holy See, Vatican City State;
    VE Bolivarian Republic of Venezuela; VG BVI; VI USVI, United States Virgin Islands; VN Viet Nam"""
"""Common names by the ISO code of the country."""


_APOSTROPHES: Final = {ord(letter): None for letter in "'\N{RIGHT SINGLE QUOTATION MARK}"}


def _key(text: str) -> str:
    """Return what equal spellings of a name have in common: neither case nor accents, nor punctuation."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    words = re.findall(r"\w+", plain.casefold().replace("&", " and ").translate(_APOSTROPHES))
    return " ".join("saint" if word == "st" else word for word in words if word != "the")


_CODES: Final = {
    _key(name): code
    for code, names in (entry.split(maxsplit=1) for entry in _COMMON_NAMES.split(";"))
    for name in names.split(",")
}


def resolve_name(text: str, places: Iterable[Place]) -> str | None:
    """Return the name of the country that a text means, or ``None`` unless there is exactly one."""
    return _resolve(text, [(place.name, place) for place in places], lambda place: place.name)


def resolve_code(text: str, places: Iterable[Place]) -> str | None:
    """Return the code of the country that a text means, or ``None`` unless there is exactly one."""
    return _resolve(text, [(place.code, place) for place in places], lambda place: place.code)


def _resolve(text: str, known: list[tuple[str, Place]], to_value: Callable[[Place], str]) -> str | None:
    if any(word == text for word, _ in known):
        return text
    key = _key(text)
    found = {to_value(place) for word, place in known if _key(word) == key}
    code = _CODES.get(key)
    if not found and code is not None:
        # A common name may also be that of the country under another official name.
        found = {to_value(place) for _, place in known if place.code.upper() == code}
    return found.pop() if len(found) == 1 else None
