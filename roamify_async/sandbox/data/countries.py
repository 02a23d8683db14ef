"""Countries by region, and the regional and global groups of them, that the catalogue can sell plans for."""

from typing import Final

from attrs import frozen


@frozen
class Place:
    """One country or group of countries.

    `region` is the continent it is listed under, `geography` is local, regional or global, and `covers` holds the
    codes of the countries where its plans work.
    """

    code: str
    name: str
    region: str
    geography: str
    covers: tuple[str, ...]


# Northern Cyprus shares its code with Cyprus, as in the real API: codes are not unique.
_COUNTRIES: Final = {
    "Europe": """
        AX Åland Islands; AL Albania; AD Andorra; AT Austria; BY Belarus; BE Belgium; BA Bosnia and Herzegovina;
        BG Bulgaria; HR Croatia; CY Cyprus; CY Northern Cyprus; CZ Czechia; DK Denmark; EE Estonia; FO Faroe Islands;
        FI Finland; FR France; DE Germany; GI Gibraltar; GR Greece; GG Guernsey; HU Hungary; IS Iceland; IE Ireland;
        IM Isle of Man; IT Italy; JE Jersey; XK Kosovo; LV Latvia; LI Liechtenstein; LT Lithuania; LU Luxembourg;
        MT Malta; MD Moldova; MC Monaco; ME Montenegro; NL Netherlands; MK North Macedonia; NO Norway; PL Poland;
        PT Portugal; RO Romania; RU Russia; SM San Marino; RS Serbia; SK Slovakia; SI Slovenia; ES Spain;
        SJ Svalbard and Jan Mayen; SE Sweden; CH Switzerland; UA Ukraine; GB United Kingdom; VA Vatican City""",
    "Asia": """
        AF Afghanistan; AM Armenia; AZ Azerbaijan; BD Bangladesh; BT Bhutan; BN Brunei; KH Cambodia; CN China;
        CX Christmas Island; CC Cocos (Keeling) Islands; GE Georgia; HK Hong Kong; IN India; ID Indonesia;
        IO British Indian Ocean Territory; JP Japan; KZ Kazakhstan; KG Kyrgyzstan; LA Laos; MO Macao; MY Malaysia;
        MV Maldives; MN Mongolia; MM Myanmar; NP Nepal; KP North Korea; PK Pakistan; PH Philippines; SG Singapore;
        KR South Korea; LK Sri Lanka; TW Taiwan; TJ Tajikistan; TH Thailand; TL Timor-Leste; TM Turkmenistan;
        UZ Uzbekistan; VN Vietnam""",
    "Middle East": """
        BH Bahrain; IR Iran; IQ Iraq; IL Israel; JO Jordan; KW Kuwait; LB Lebanon; OM Oman; PS Palestine; QA Qatar;
        SA Saudi Arabia; SY Syria; TR Türkiye; AE United Arab Emirates; YE Yemen""",
    "Africa": """
        DZ Algeria; AO Angola; BJ Benin; BW Botswana; BF Burkina Faso; BI Burundi; CV Cabo Verde; CM Cameroon;
        CF Central African Republic; TD Chad; KM Comoros; CG Congo; CI Côte d'Ivoire;
        CD Democratic Republic of the Congo; DJ Djibouti; EG Egypt; GQ Equatorial Guinea; ER Eritrea; SZ Eswatini;
        ET Ethiopia; GA Gabon; GM Gambia; GH Ghana; GN Guinea; GW Guinea-Bissau; KE Kenya; LS Lesotho; LR Liberia;
        LY Libya; MG Madagascar; MW Malawi; ML Mali; MR Mauritania; MU Mauritius; YT Mayotte; MA Morocco;
        MZ Mozambique; NA Namibia; NE Niger; NG Nigeria; RE Réunion; RW Rwanda; SH Saint Helena;
        ST São Tomé and Príncipe; SN Senegal; SC Seychelles; SL Sierra Leone; SO Somalia; ZA South Africa;
        SS South Sudan; SD Sudan; TZ Tanzania; TG Togo; TN Tunisia; UG Uganda; EH Western Sahara; ZM Zambia;
        ZW Zimbabwe""",
    "North America": """
        BZ Belize; BM Bermuda; CA Canada; CR Costa Rica; SV El Salvador; GL Greenland; GT Guatemala; HN Honduras;
        MX Mexico; NI Nicaragua; PA Panama; PM Saint Pierre and Miquelon; US United States""",
    "Caribbean": """
        AI Anguilla; AG Antigua and Barbuda; AW Aruba; BS Bahamas; BB Barbados; BQ Bonaire; VG British Virgin Islands;
        KY Cayman Islands; CU Cuba; CW Curaçao; DM Dominica; DO Dominican Republic; GD Grenada; GP Guadeloupe;
        HT Haiti; JM Jamaica; MQ Martinique; MS Montserrat; PR Puerto Rico; BL Saint Barthélemy;
        KN Saint Kitts and Nevis; LC Saint Lucia; MF Saint Martin; VC Saint Vincent and the Grenadines;
        SX Sint Maarten; TT Trinidad and Tobago; TC Turks and Caicos Islands; VI US Virgin Islands""",
    "South America": """
        AR Argentina; BO Bolivia; BR Brazil; CL Chile; CO Colombia; EC Ecuador; FK Falkland Islands;
        GF French Guiana; GY Guyana; PY Paraguay; PE Peru; SR Suriname; UY Uruguay; VE Venezuela""",
    "Oceania": """
        AS American Samoa; AU Australia; CK Cook Islands; FJ Fiji; PF French Polynesia; GU Guam; KI Kiribati;
        MH Marshall Islands; FM Micronesia; NR Nauru; NC New Caledonia; NZ New Zealand; NU Niue; NF Norfolk Island;
        MP Northern Mariana Islands; PW Palau; PG Papua New Guinea; PN Pitcairn Islands; WS Samoa;
        SB Solomon Islands; TK Tokelau; TO Tonga; TV Tuvalu; VU Vanuatu; WF Wallis and Futuna""",
}

# Code, name, region, and members: region names of the table above, or country codes.
_GROUPS: Final = (
    ("AFR", "Africa", "Africa", "Africa"),
    ("EUR", "Europe", "Europe", "Europe"),
    ("EUUS", "Europe & United States", "Europe", "Europe; US"),
    ("ASI", "Asia", "Asia", "Asia"),
    ("MEA", "Middle East", "Middle East", "Middle East"),
    ("NAM", "North America", "North America", "CA; MX; US"),
    ("LAT", "Latin America", "South America", "South America; BZ; CR; GT; HN; MX; NI; PA; SV"),
    ("CAR", "Caribbean", "Caribbean", "Caribbean"),
    ("OCE", "Oceania", "Oceania", "Oceania"),
    ("BAL", "Balkans", "Europe", "AL; BA; BG; GR; HR; ME; MK; RS; SI; XK"),
    ("SCA", "Scandinavia", "Europe", "AX; DK; FI; FO; IS; NO; SE"),
    ("GCC", "Gulf States", "Middle East", "AE; BH; KW; OM; QA; SA"),
)
_GLOBALS: Final = (
    ("GLO", "Global", "Europe; Asia; Middle East; North America; South America; Oceania"),
    ("GLOP", "Global Plus", "Europe; Asia; Middle East; Africa; North America; South America; Oceania; Caribbean"),
    ("GLB50", "Global 50", "Europe"),
)

# The places every catalogue has, however small: one of each geography, and the names that are hard to spell.
_FIRST: Final = (
    "Greece", "Africa", "Global", "Åland Islands", "Côte d'Ivoire", "Europe & United States", "Germany", "Curaçao",
    "Réunion", "United States", "Japan", "Cyprus", "Northern Cyprus", "Europe", "Türkiye", "Thailand", "Brazil",
    "Australia", "Saudi Arabia",
)  # fmt: skip


def _countries() -> list[Place]:
    return [
        Place(code, name, region, "local", (code,))
        for region, listing in _COUNTRIES.items()
        for code, name in (entry.split(maxsplit=1) for entry in " ".join(listing.split()).split(";"))
    ]


def _covered(members: str, countries: list[Place]) -> tuple[str, ...]:
    wanted = {member.strip() for member in members.split(";")}
    return tuple(dict.fromkeys(place.code for place in countries if wanted & {place.region, place.code}))


def _places() -> tuple[Place, ...]:
    countries = _countries()
    places = countries + [
        Place(code, name, region, "regional", _covered(members, countries)) for code, name, region, members in _GROUPS
    ]
    places += [Place(code, name, "Global", "global", _covered(members, countries)) for code, name, members in _GLOBALS]
    rank = {name: position for position, name in enumerate(_FIRST)}
    return tuple(sorted(places, key=lambda place: rank.get(place.name, len(rank))))


PLACES: Final = _places()
"""Every place; those of the smallest catalogue come first."""
