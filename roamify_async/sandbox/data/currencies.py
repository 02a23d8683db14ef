"""Exact money in whole cents, and the currencies that have exchange rates."""

from decimal import Decimal, InvalidOperation
from typing import Final

# Up to fifteen digits, the shortest text of a float is the text that it was read from.
_LIMIT: Final = 10**15

_LISTING: Final = """
    AED UAE Dirham 3.6725; AFN Afghan Afghani 70.5; ALL Albanian Lek 91.2; AMD Armenian Dram 387; ANG Antillean Guilder
    1.79; AOA Angolan Kwanza 912; ARS Argentine Peso 985; AUD Australian Dollar 1.52; AZN Azerbaijani Manat 1.7;
    BAM Convertible Mark 1.81; BBD Barbadian Dollar 2; BDT Bangladeshi Taka 119; BGN Bulgarian Lev 1.81;
    BHD Bahraini Dinar 0.376; BMD Bermudian Dollar 1; BND Brunei Dollar 1.33; BOB Bolivian Boliviano 6.91;
    BRL Brazilian Real 5.6; BSD Bahamian Dollar 1; BTN Bhutanese Ngultrum 84; BWP Botswana Pula 13.4;
    BYN Belarusian Ruble 3.27; BZD Belize Dollar 2.01; CAD Canadian Dollar 1.38; CHF Swiss Franc 0.87;
    CLP Chilean Peso 945; CNY Chinese Yuan 7.12; COP Colombian Peso 4250; CRC Costa Rican Colon 512;
    CVE Cape Verdean Escudo 102; CZK Czech Koruna 23.3; DJF Djiboutian Franc 178; DKK Danish Krone 6.89;
    DOP Dominican Peso 60.2; DZD Algerian Dinar 133; EGP Egyptian Pound 48.7; ETB Ethiopian Birr 119; EUR Euro 0.924;
    FJD Fijian Dollar 2.24; GBP British Pound 0.772; GEL Georgian Lari 2.72; GHS Ghanaian Cedi 16.1;
    GMD Gambian Dalasi 69; GNF Guinean Franc 8620; GTQ Guatemalan Quetzal 7.73; GYD Guyanese Dollar 209;
    HKD Hong Kong Dollar 7.77; HNL Honduran Lempira 25.1; HTG Haitian Gourde 132; HUF Hungarian Forint 374;
    IDR Indonesian Rupiah 15700; ILS Israeli Shekel 3.73; INR Indian Rupee 84.1; ISK Icelandic Krona 137;
    JMD Jamaican Dollar 158; JOD Jordanian Dinar 0.709; JPY Japanese Yen 152; KES Kenyan Shilling 129;
    KGS Kyrgyzstani Som 85.6; KHR Cambodian Riel 4060; KMF Comorian Franc 455; KRW South Korean Won 1380;
    KWD Kuwaiti Dinar 0.306; KYD Cayman Dollar 0.833; KZT Kazakhstani Tenge 488; LAK Lao Kip 21900;
    LBP Lebanese Pound 89500; LKR Sri Lankan Rupee 293; LRD Liberian Dollar 191; LSL Lesotho Loti 17.6;
    MAD Moroccan Dirham 9.85; MDL Moldovan Leu 17.9; MGA Malagasy Ariary 4600; MKD Macedonian Denar 56.9;
    MMK Myanmar Kyat 2098; MNT Mongolian Tugrik 3398; MOP Macanese Pataca 8.01; MRU Mauritanian Ouguiya 39.7;
    MUR Mauritian Rupee 46; MVR Maldivian Rufiyaa 15.4; MWK Malawian Kwacha 1734; MXN Mexican Peso 20;
    MYR Malaysian Ringgit 4.38; MZN Mozambican Metical 63.9; NAD Namibian Dollar 17.6; NGN Nigerian Naira 1640;
    NIO Nicaraguan Cordoba 36.8; NOK Norwegian Krone 11; NPR Nepalese Rupee 134; NZD New Zealand Dollar 1.67;
    OMR Omani Rial 0.385; PAB Panamanian Balboa 1; PEN Peruvian Sol 3.77; PGK Papua New Guinean Kina 3.99;
    PHP Philippine Peso 58.2; PKR Pakistani Rupee 278; PLN Polish Zloty 4.01; PYG Paraguayan Guarani 7900;
    QAR Qatari Riyal 3.64; RON Romanian Leu 4.6; RSD Serbian Dinar 108; RWF Rwandan Franc 1360; SAR Saudi Riyal 3.75;
    SCR Seychellois Rupee 13.6; SEK Swedish Krona 10.7; SGD Singapore Dollar 1.32; SRD Surinamese Dollar 34.4;
    SZL Swazi Lilangeni 17.6; THB Thai Baht 33.8; TJS Tajikistani Somoni 10.6; TND Tunisian Dinar 3.1;
    TOP Tongan Paanga 2.36; TRY Turkish Lira 34.3; TTD Trinidad Dollar 6.79; TWD New Taiwan Dollar 32;
    TZS Tanzanian Shilling 2710; UAH Ukrainian Hryvnia 41.3; UGX Ugandan Shilling 3660; USD US Dollar 1;
    UYU Uruguayan Peso 41.6; UZS Uzbekistani Som 12800; VND Vietnamese Dong 25300; VUV Vanuatu Vatu 119;
    WST Samoan Tala 2.72; XAF Central African Franc 606; XCD East Caribbean Dollar 2.7; XOF West African Franc 606;
    XPF Pacific Franc 110; ZAR South African Rand 17.6; ZMW Zambian Kwacha 26.7"""


def to_cents(amount: Decimal | str | int, name: str = "balance") -> int:
    """Return an amount in dollars as whole cents.

    Raises ValueError, naming *name*, for a negative amount, a fraction of a cent, or anything that is not a number.
    """
    try:
        counted = Decimal(amount) * 100
        exact = 0 <= counted < _LIMIT and counted == int(counted)
    except (InvalidOperation, ValueError, TypeError):
        exact, counted = False, Decimal(0)
    if not exact:
        raise ValueError(f"{name} must be an amount of 0 or more in whole cents, such as '1000.00', not {amount!r}")
    return int(counted)


def to_decimal(cents: int) -> Decimal:
    """Return cents as an amount with two decimals: 132 is Decimal('1.32')."""
    return Decimal(cents).scaleb(-2)


def to_number(cents: int) -> int | float:
    """Return cents as the number that JSON writes exactly: 500 is 5, 132 is 1.32."""
    whole, rest = divmod(cents, 100)
    return float(f"{whole}.{rest:02}") if rest else whole  # parsed from text: a division would round


def _parse(listing: str) -> dict[str, tuple[str, float]]:
    currencies: dict[str, tuple[str, float]] = {}
    for entry in listing.split(";"):
        code, *name, per_dollar = entry.split()
        currencies[code] = " ".join(name), float(per_dollar)
    return currencies


CURRENCIES: Final = _parse(_LISTING)
"""By currency code: the English name, and the average number of units that a US dollar buys."""
