"""Write an Excel workbook of invented businesses, the same bytes every time.

The module needs nothing but the standard library.  It writes the XML parts of the
workbook itself, row by row, so a million rows need no more memory than ten: only
the strings that occur more than once are kept, the others are unique by construction.

    python data/make_businesses.py OUT.xlsx
    python data/make_businesses.py --rows 1000000 --strings inline --bad 0 OUT.xlsx

Every row is a pure function of its number (see `business`), and the rows that break the
contract in `businesses.schema.json` are listed in `BAD`; `bad_rows` tells where they are.
The XML is the same on every machine; the zipped bytes are the same for the same zlib.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from os import PathLike

HEADERS = ("Name", "Category", "Phone", "Email", "Address", "City", "Country", "Website", "Description")
STRINGS = ("shared", "inline")
MAX_ROWS = 1_048_575  # what an Excel sheet holds below its header row
MIN_ROWS_WITH_BAD = 200  # with fewer rows the positions in BAD would meet
CHUNK_ROWS = 500
LARGE_SHEET = 20_000_000  # cells; at some 100 bytes each the sheet may then pass 2 GiB
WIDE_COLUMNS = 200
LETTERS = "ABCDEFGHI"
EMAIL = HEADERS.index("Email")


# --- Cell values -----------------------------------------------------------------------


class Day(int):
    """A date, as Excel counts it: days since 1899-12-30."""


class Moment(float):
    """A date with a time of day: the fraction is the part of the day."""


@dataclass(frozen=True)
class ErrorCell:
    """A cell that shows an Excel error such as #N/A."""

    code: str


@dataclass(frozen=True)
class Formula:
    """A formula stored without a result, as programs write it that cannot calculate."""

    text: str


@dataclass(frozen=True)
class EmailOf:
    """Stands for the e-mail address of another row: `back` rows above, or the first row if 0."""

    back: int


Value = str | int | float | ErrorCell | Formula | None
Row = Sequence[Value]


# --- The rows that break the contract --------------------------------------------------


class Bad(NamedTuple):
    """One deliberate mistake: where it is, what it breaks, and what stands in the cell."""

    at: int | float  # whole number: data row from the start (or, negative, the end); else a share of all
    column: str
    rule: str
    what: str
    cell: str | ErrorCell | Formula | EmailOf | None


class BadCell(NamedTuple):
    """A mistake at its place in the sheet; the header is row 1."""

    row: int
    column: str
    rule: str
    what: str


TOO_LONG = ("The text goes on and on, well beyond what the contract allows. " * 10)[:600].rstrip()

# The outer positions lie within 24 rows of an end and the shares between 0.12 and 0.88,
# so that from 200 rows upwards no two of them meet, nor does one meet the row above another.
BAD = (
    Bad(5, "A", "constraint-error", "required Name: no cell", None),
    Bad(11, "D", "type-error", "not an e-mail address", "info(at)example.com"),
    Bad(17, "C", "constraint-error", "Phone does not match the pattern", "call us"),
    Bad(0.12, "A", "error-cell", "Name is an Excel error", ErrorCell("#N/A")),
    Bad(0.23, "I", "constraint-error", "Description longer than maxLength", TOO_LONG),
    Bad(
        0.34,
        "H",
        "uncalculated-formula",
        "Website is a formula without a stored result",
        Formula('HYPERLINK("https://www.example.com/"&ROW())'),
    ),
    Bad(0.45, "D", "unique-error", "e-mail address of the row above", EmailOf(1)),
    Bad(0.56, "B", "error-cell", "Category is an Excel error", ErrorCell("#REF!")),
    Bad(0.67, "A", "constraint-error", "required Name: empty text", ""),
    Bad(0.78, "D", "constraint-error", "required Email: no cell", None),
    Bad(-14, "D", "type-error", "not an e-mail address", "no-at-sign"),
    Bad(-8, "D", "unique-error", "e-mail address of the first data row", EmailOf(0)),
    Bad(-1, "G", "constraint-error", "Country shorter than minLength", "X"),
)


def _index(at: float, rows: int) -> int:
    """Turn a position of BAD into the number of a data row, counted from 0."""
    if isinstance(at, int):
        return at if at >= 0 else rows + at
    return int(at * rows)


def bad_rows(rows: int = 10_000) -> list[BadCell]:
    """Tell which cells of a sheet with so many data rows are wrong, from top to bottom."""
    _check_bad(rows)
    return [BadCell(_index(bad.at, rows) + 2, HEADERS[LETTERS.index(bad.column)], bad.rule, bad.what) for bad in BAD]


def _check_bad(rows: int) -> None:
    """Refuse a sheet too short to hold the bad rows at separate places."""
    if rows < MIN_ROWS_WITH_BAD:
        msg = f"the {len(BAD)} bad rows need at least {MIN_ROWS_WITH_BAD} rows, not {rows}; or leave them out"
        raise ValueError(msg)


# --- Words -----------------------------------------------------------------------------


def _words(text: str) -> tuple[str, ...]:
    """Split a list written with semicolons, one or more lines long."""
    return tuple(" ".join(word.split()) for word in text.split(";"))


class Place(NamedTuple):
    """A city with what its addresses and phone numbers look like."""

    city: str
    country: str
    dial: str
    area: str
    trunk: str
    language: str


GIVEN = _words("""Zoë; Anna; Björn; Chloé; Dario; Élodie; Fatima; Giulia; Håkon; Inés; João; Kenji; Léa;
    Marek; Noor; Ólafur; Priya; Quentin; Renée; Søren; Tomás; Uma; Věra; Wanjiru; Xavier; Yusuf; Zsófia;
    Amélie; Bruno; Carmen; Deniz; Emil; François; Greta; Hana; Iker; Jürgen; Katarzyna; Luís; Mia; Nils;
    Olga; Paweł; Ragnhild; Şule; Théo; Ursula; Violeta; Willem; Ximena; Yara; Zeynep; Aoife; Benoît; Cem;
    Dóra; Esra; Frida; Göran; Haruka; Ivo; Jana; Kofi; Lucía; Mateo; Niamh; Oskar; Pilar; Rosa; Sofía;
    Tariq; Umberto; Viktor; Wei; Yannick; Žofie; Adèle; Boris; Cécile; Dmitri; Eva; Félix; Gustav; Hélène;
    Ingrid; Jakub; Kaito; Linnéa; Maëlle; Nuno; Odile; Per; Rui; Selin; Tuva; Vera""")
SURNAMES = _words("""O'Neill; Müller; D'Angelo; Łukasz; Núñez; Keller; Sørensen; Ferreira; Nakamura; Öztürk;
    Dvořák; Lefèvre; García; Rossi; Andersson; Kowalski; Nagy; Popescu; Van Dijk; De Smet; Okafor; Haddad;
    Sharma; Chen; Kim; Nguyen; Silva; Costa; Martín; López; Brunner; Zürcher; Baumann; Gerber; Steiner;
    Huber; Wagner; Schäfer; Weiß; Köhler; Krüger; Jäger; Böhm; Vogel; Lindqvist; Åberg; Nyström; Hansen;
    Larsen; Bjørnstad; Virtanen; Mäkelä; Korhonen; Kask; Ozols; Petrauskas; Nowak; Wiśniewski; Zieliński;
    Černý; Svoboda; Novák; Horváth; Szabó; Kovačević; Petrović; Đorđević; Ionescu; Dimitrov; Papadopoulos;
    Demir; Y\u0131lmaz; Şahin; Cohen; Levi; Mansour; El Amrani; Benali; Diallo; Traoré; Mensah; Adeyemi;
    Mwangi; Tesfaye; Naidoo; Botha; Patel; Singh; Iyer; Banerjee; Khan; Rahman; Perera; Tan; Lim; Wong; Li;
    Zhang; Park; Choi; Tanaka; Suzuki; Yamada; Fujii; Murphy; Byrne; O'Connor; MacLeod; Campbell; Hughes;
    Evans; Taylor; Baker; Carter; Mason; Fletcher; Cooper; Wright; Shaw; Ellis; Hart; Bennett; Dubois;
    Moreau; Girard; Roux; Fontaine; Mercier; Bianchi; Ricci; Greco; Marino; Fontana; Peeters; Janssens;
    Bakker; Visser; De Vries; Almeida; Rocha; Teixeira; Araújo; Gómez; Ruiz; Ortega; Castaño; Peña; Ibáñez;
    Soler; Vidal; Quispe; Rojas; Muñoz; Vargas; Acosta; Duarte; Zapata; Ó Briain; Þórsson; N'Diaye""")
NAME_FORMS = _words("""{g} {s} {t}; {g} {s}'s {t}; {t} {g} {s}; {s} & {g} {t}; {g} & {s} {t}; {t} {s} & {g};
    Chez {g} {s} {t}; {t} {s}, {g}; Casa {g} {s} {t}; {s}-{g} {t}; The {g} {s} {t}; {t} by {g} {s};
    Studio {g} {s} {t}; {s} {g} + Partner {t}; Maison {g} {s} {t}; {g} {s} & Sons {t}""")
SUFFIXES = _words("; GmbH; Ltd; SA; LLC; AB")
TEMPLATES = tuple(f"{form} {suffix}".rstrip() for suffix in SUFFIXES for form in NAME_FORMS)
CHAINS = _words("""Blue Kettle; Nordlicht Kiosk; Lumi & Sol; Pão do Dia; L'Étoile du Coin; Ferry's;
    Quartier Nº 5; Grüezi Markt; Kumo 雲; さくら堂; 小城市场; Zwölf & Eins; Señor Mantel; Hygge House;
    Rustic & Rye; Żabka Zielona""")
CATEGORIES = _words("""Bakery|bakery|patisserie|bread house; Café|café|coffee bar|espresso bar;
    Restaurant|restaurant|bistro|grill; Hotel|hotel|guest house|inn; Pharmacy|pharmacy|dispensary|chemist;
    Bookshop|bookshop|book corner|reading room; Florist|florist|flower shop|garden studio;
    Plumbing|plumbing|pipe works|heating service; Electrical Services|electrics|wiring service|power works;
    Hair & Beauty|hair salon|barbershop|beauty studio; Law Firm|law office|chambers|legal practice;
    Accounting|accounting|bookkeeping|tax office; Dental Clinic|dental clinic|dental care|orthodontics;
    Veterinary|vet clinic|animal hospital|pet practice; Car Repair|garage|car works|auto service;
    Bicycle Shop|cycles|bike shop|bike workshop; Fitness|gym|fitness club|training hall;
    Yoga & Pilates|yoga studio|pilates room|movement studio; Grocery|grocery|market|corner shop;
    Butcher|butchery|charcuterie|meat counter; Fishmonger|fish shop|fish market|seafood;
    Wine & Spirits|wine shop|cellar|vinothèque; Furniture|furniture|joinery|interior house;
    Carpentry|carpentry|wood works|timber shop; Architecture|architects|design office|planning bureau;
    Photography|photo studio|pictures|camera shop; Printing|print shop|press|copy centre;
    IT Services|informatics|software|systems; Language School|language school|tuition|academy;
    Childcare|kindergarten|day care|play house; Cleaning|cleaning|laundry|dry cleaning;
    Travel Agency|travel|tours|voyages; Real Estate|estates|property office|lettings;
    Insurance|insurance|brokers|cover office; Optician|optics|eyewear|vision centre;
    Jewellery|jewellery|goldsmith|watches; Clothing|clothing|tailoring|outfitters;
    Shoes|shoes|cobbler|boot makers; Toys & Games|toys|games room|hobby shop;
    Music|music shop|instruments|piano house""")
TRADES = tuple(tuple(line.split("|")) for line in CATEGORIES)
# Country | dialling code | national prefix | language of the streets | cities with their area codes
# (the French-speaking cities of Switzerland have a line of their own for their streets).
COUNTRIES = _words("""Switzerland|41|0|de|Zürich:44,Bern:31,Basel:61,Luzern:41,St. Gallen:71;
    Suisse romande|41|0|fr|Genève:22,Lausanne:21,Neuchâtel:32;
    Germany|49|0|de|Berlin:30,München:89,Köln:221,Hamburg:40,Leipzig:341;
    Austria|43|0|de|Wien:1,Graz:316,Salzburg:662;
    France|33|0|fr|Paris:1,Lyon:4,Marseille:4,Besançon:3,Orléans:2;
    Italy|39||it|Roma:06,Milano:02,Forlì:0543,Torino:011;
    Spain|34||es|Madrid:91,Barcelona:93,Málaga:952,A Coruña:981;
    Portugal|351||pt|Lisboa:21,Porto:22,Évora:266; Brazil|55|0|pt|São Paulo:11,Belém:91,Curitiba:41;
    Mexico|52||es|Ciudad de México:55,Mérida:999; Argentina|54|0|es|Buenos Aires:11,Córdoba:351;
    Chile|56||es|Valparaíso:32,Santiago:2;
    United Kingdom|44|0|en|London:20,Leeds:113,Edinburgh:131,Cardiff:29;
    Ireland|353|0|en|Dublin:1,Cork:21,Dún Laoghaire:1;
    United States|1||en|New York:212,Chicago:312,San José:408,Austin:512,Coeur d'Alene:208;
    Canada|1||en|Toronto:416,Montréal:514,Québec:418; Australia|61|0|en|Sydney:2,Melbourne:3,Perth:8;
    New Zealand|64|0|en|Auckland:9,Whangārei:9; South Africa|27|0|en|Cape Town:21,Durban:31;
    Nigeria|234|0|en|Lagos:1,Abuja:9; Sweden|46|0|sv|Stockholm:8,Göteborg:31,Malmö:40;
    Norway|47||sv|Oslo:22,Tromsø:77,Ålesund:70; Denmark|45||sv|København:33,Århus:86;
    Finland|358|0|sv|Helsinki:9,Jyväskylä:14; Poland|48||pl|Warszawa:22,Łódź:42,Kraków:12;
    Czechia|420||pl|Praha:2,Plzeň:37; Hungary|36|06|pl|Budapest:1,Győr:96;
    Türkiye|90|0|tr|İstanbul:212,İzmir:232; Côte d'Ivoire|225||fr|Abidjan:27,Yamoussoukro:27;
    Bosnia & Herzegovina|387|0|pl|Sarajevo:33,Mostar:36; Japan|81|0|ja|東京:3,大阪:6,Kyōto:75;
    India|91|0|en|Mumbai:22,Chennai:44,Bengaluru:80""")
STREETS = {
    "de": _words("""Bahnhofstrasse; Hauptstrasse; Gartenweg; Mühlegasse; Kirchplatz; Schönbergallee;
        Am Bach; Rosenweg; Lindenstrasse; Ringstrasse; Seefeldquai; Oberdorf"""),
    "fr": _words("""rue de la Gare; avenue des Alpes; place de l'Église; rue du Marché; chemin des Prés;
        quai du Lac; rue Saint-Honoré; boulevard Carnot; impasse des Tilleuls; rue de l'Hôpital;
        allée du Château; rue Neuve"""),
    "it": _words("""Via Roma; Corso Italia; Piazza del Popolo; Via dell'Orto; Viale Europa; Via San Carlo;
        Largo Libertà; Via Garibaldi; Via delle Fonti; Vicolo Stretto"""),
    "es": _words("""Calle Mayor; Avenida del Sol; Plaza España; Calle de la Peña; Paseo Marítimo;
        Calle Nueva; Ronda Norte; Camino Real; Calle del Río; Travesía Gómez"""),
    "pt": _words("""Rua Direita; Avenida da Liberdade; Praça da Sé; Rua das Flores; Travessa do Forno;
        Rua São João; Largo do Carmo; Rua Augusta; Alameda dos Pinheiros; Estrada da Luz"""),
    "en": _words("""High Street; Station Road; King's Lane; Mill & Bridge Street; Church Walk;
        Market Square; Park Avenue; Victoria Road; St. John's Terrace; Harbour View; Old Post Road;
        Elm Grove"""),
    "sv": _words("""Storgatan; Kungsgatan; Skolvägen; Björkvägen; Sjögatan; Kyrkogränd; Hamngatan; Åsgatan;
        Torggata; Østre vei"""),
    "pl": _words("""ul. Długa; ul. Kościuszki; al. Wolności; pl. Rynek; ul. Młyńska; ul. Świętego Jana;
        ul. Lipowa; nám. Míru; ul. Źródlana; ul. Główna"""),
    "tr": _words("""Atatürk Caddesi; İstiklal Caddesi; Gül Sokak; Çiçek Sokak; Bağdat Caddesi; Liman Yolu;
        Şehit Sokak; Kordon Boyu"""),
    "ja": _words("本町; 中央通り; 桜丘; 駅前; 港町; 緑が丘; 栄町; 大手町"),
}
FEATURES = _words("""Known for fair prices; Short waiting times; Own workshop on site;
    We speak four languages; Wheelchair access & parking; Gift vouchers at the counter;
    Delivery within two days; Pick-up in the yard; Cards and cash accepted; Regional suppliers only;
    Everything made by hand; Repairs while you wait; Quotes within a day; Works with schools & clubs;
    Bulk orders < 24 hours; Dogs are welcome; Live music on Fridays; Terrace with a view of the river;
    Two minutes from the station; Custom orders welcome; Third generation at the helm;
    Trainees every autumn; Emergency service at night; Members get 10 % off; Tastings on Thursdays;
    Children's menu & play area; Free Wi-Fi; Workshops for beginners; Restored town house; Quick & careful;
    Rooms for up to 40 guests; Charging point for e-bikes""")
CLOSINGS = _words("""Open daily from 7:30; Open from 8:00 on weekdays; Closed on Sundays;
    Call us after 9:00; Doors open at 10:00; Last orders at 21:30; By appointment only; Open all year round;
    Walk in or book ahead; Summer hours apply; Ring the bell twice; Lunch from 11:45 to 14:00;
    Saturdays until noon; Deliveries until 18:30; Ask for our price list; Closed in January""")
EXTRAS = _words("""☕ 🥐; 🌿🌍; 欢迎光临; ようこそ; Herzlich willkommen; Bienvenue à toutes et à tous;
    🚲 👩‍🔧; 환영합니다; ¡Hasta pronto!; "Just like home"; 日本語もどうぞ; 🎉""")
MAILBOXES = _words("info; contact; hello; office; mail; sales; team; hola; kontakt; no.reply; shop+web")


def _places() -> Iterator[Place]:
    """Unfold the table of countries into one entry for each city."""
    for line in COUNTRIES:
        country, dial, trunk, language, cities = line.split("|")
        name = country.replace("Suisse romande", "Switzerland")
        for entry in cities.split(","):
            city, area = entry.split(":")
            yield Place(city, name, dial, area, trunk, language)


def _slug(text: str) -> str:
    """Keep the letters of a word without their accents, for the name of a web site."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(NO_ACCENT))
    return "".join(letter for letter in plain if letter.isascii() and letter.isalpha())


NO_ACCENT = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "\u0131": "i", "ß": "ss", "þ": "th"})
PLACES = tuple(_places())
SLUGS = {surname: _slug(surname) for surname in SURNAMES}


# --- One business ----------------------------------------------------------------------

# Every 256 rows come from three cities, 16 trades and 32 people's names, as in an export made region
# by region.  Without such neighbours the file would zip much worse than real ones do.
REGION = 256
MASK_64 = (1 << 64) - 1


def _mix(number: int) -> int:
    """Scatter a row number over 64 bits (the last steps of SplitMix64), the same in every Python."""
    bits = (number + 1) * 0x9E3779B97F4A7C15 & MASK_64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & MASK_64
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & MASK_64
    return bits ^ bits >> 31


def _shuffle(number: int, bits: int) -> int:
    """Stir the lower bits of a row number, one to one, so that neighbours stay close.

    Text that contains the result so that it can be read back is unique without a look at
    the other rows.
    """
    mask = (1 << bits) - 1
    low = (number * 0x2C1B5 + 0x4D2) & mask
    low = (low ^ low >> 7) * 0x9E3B5 & mask
    low = (low ^ low >> 6) * 0x6C8E5 & mask
    return number & ~mask | low ^ low >> 5


def _name(number: int, trade: str) -> tuple[str, str]:
    """Make up a name and tell the surname in it.

    A region pairs each of 16 given names with each of 16 surnames once.  There are 60 such
    groups of names; regions that share one differ in the template, so no name comes twice.
    """
    turn, group = divmod(number // REGION, 60)
    pair = _shuffle(number, 8) % REGION
    given = GIVEN[group % 6 * 16 + pair % 16]
    owner = SURNAMES[group // 6 * 16 + pair // 16]
    template = TEMPLATES[(turn * 5 + group * 11 + pair % 12) % len(TEMPLATES)]
    return template.format(g=given, s=owner, t=trade.title()), owner


def _phone(unique: int, place: Place, dice: int) -> str:
    """Write a phone number in one of the usual ways.

    Subscriber numbers that begin with 0 or 1 are not given out in most countries, so hardly
    anyone's telephone rings.  Seven digits of the row make it unique.
    """
    digits = f"{(unique + 1_230_000) % 2_000_000:07d}"
    if place.language in {"en", "ja"}:
        local = f"{digits[:3]}-{digits[3:]}"
    else:
        local = f"{digits[:3]} {digits[3:5]} {digits[5:]}"
    if dice % 8 == 0:
        return f"{place.trunk}{place.area} {local}" if place.trunk else f"({place.area}) {local}"
    if dice % 8 == 1:
        return f"00{place.dial} {place.area} {local}"
    return f"+{place.dial} {place.area} {local}"


def _address(unique: int, place: Place, dice: int) -> str:
    """Write street, house number and post code; the two numbers together are unique."""
    code, house = divmod(unique, 240)
    streets = STREETS[place.language]
    street = streets[dice % len(streets)]
    if place.language in {"en", "fr"}:
        return f"{house + 1} {street}, {code + 4000}"
    if place.language == "ja":
        return f"{street} {house + 1}-{code + 4000}"
    return f"{street} {house + 1}, {code + 4000}"


def _description(name: str, city: str, region: int, dice: int) -> str:
    """Write two or three short sentences around the name, which makes them unique."""
    feature = FEATURES[(region * 16 + dice % 16) % len(FEATURES)]
    closing = CLOSINGS[dice // 64 % len(CLOSINGS)]
    gap = "\n" if dice % 97 == 0 else " "  # a line break typed with Alt+Enter
    if dice % 3 == 0:
        text = f"{feature}: {name}, your choice in {city}.{gap}{closing}."
    else:
        text = f"{name}:{gap}{feature}. {closing}."
    if dice % 41 == 0:
        return f"{text} {EXTRAS[dice // 41 % len(EXTRAS)]}"
    return text + " " if dice % 211 == 0 else text  # a space left behind while typing


def business(number: int) -> list[Value]:
    """Make up the business in one data row, counted from 0; it satisfies the contract."""
    dice, region = _mix(number), number // REGION
    # The smaller of two throws: some trades are much more frequent than others.
    trades = TRADES[(region * 7 + min(dice % 16, (dice >> 6) % 16)) % len(TRADES)]
    trade = trades[1 + (dice >> 12) % 3]
    place = PLACES[(_mix(region) + (dice >> 14) % 3 * 13) % len(PLACES)]
    name, owner = about, _ = _name(number, trade)
    if dice >> 22 & 63 == 0:
        name = CHAINS[(dice >> 28) % len(CHAINS)]
        about = f"{name} No. {number + 1}"
    unique = _shuffle(number, 12)
    host = f"{SLUGS[owner]}{number + 1}.example"
    scheme = "http" if dice >> 30 & 7 == 0 else "https"
    return [
        name,
        trades[0],
        _phone(unique, place, dice >> 28),
        f"{MAILBOXES[min((dice >> 32) % 11, (dice >> 9) % 11)]}@{host}",
        None if dice >> 36 & 31 == 0 else _address(unique, place, dice >> 41),
        place.city,
        place.country,
        None if dice >> 45 & 7 == 0 else f"{scheme}://www.{host}/",
        None if dice >> 48 & 31 == 0 else _description(about, place.city, region, dice >> 26),
    ]


# --- The shapes ------------------------------------------------------------------------


class Table(NamedTuple):
    """What to write: the header, the rows, and every string that occurs more than once."""

    headers: Sequence[str]
    rows: Iterable[Row]
    repeated: Iterable[str]


def _bad_value(bad: Bad, number: int) -> Value:
    """Tell what stands in the bad cell of a data row."""
    if isinstance(bad.cell, EmailOf):
        return business(number - bad.cell.back if bad.cell.back else 0)[EMAIL]
    return bad.cell


def _businesses(rows: int, *, bad: bool) -> Table:
    """Prepare the table of businesses, with the bad rows on request."""
    wrong: dict[int, tuple[int, Value]] = {}
    if bad:
        _check_bad(rows)
        for entry in BAD:
            number = _index(entry.at, rows)
            wrong[number] = (LETTERS.index(entry.column), _bad_value(entry, number))
    repeated = [*CHAINS, *(trade[0] for trade in TRADES)]
    repeated += [text for place in PLACES for text in (place.city, place.country)]
    repeated += [value for _, value in wrong.values() if isinstance(value, str)]
    return Table(HEADERS, _with_wrong(rows, wrong), repeated)


def _with_wrong(rows: int, wrong: dict[int, tuple[int, Value]]) -> Iterator[Row]:
    """Go through the businesses and spoil one cell in each of the chosen rows."""
    for number in range(rows):
        row = business(number)
        if number in wrong:
            column, value = wrong[number]
            row[column] = value
        yield row


def _numbers(rows: int, *, bad: bool) -> Table:
    """Prepare a table without text: integers, decimals, dates, times and booleans."""
    del bad  # this shape has no contract to break
    headers = ("Id", "Quantity", "Account", "Price", "Share", "Balance", "Day", "Moment", "Paid", "Active")
    return Table(headers, map(_numbers_row, range(rows)), ())


def _numbers_row(number: int) -> Row:
    """Make up one row of numbers; the days lie between 1950 and 2049."""
    dice = _mix(number)
    day = 18_264 + (dice >> 30) % 36_525
    return (
        number + 1,
        dice % 1000,
        dice % 999_999_999_989,
        (dice >> 10) % 1_000_000 / 100,
        (dice >> 20) % 1_000_003 / 1_000_000,
        ((dice >> 5) % 20_000_000 - 10_000_000) / 1000,
        Day(day),
        Moment(day + (dice >> 40) % 86_400 / 86_400),
        dice >> 60 & 1 == 1,
        dice >> 61 & 3 != 0,
    )


def _wide(rows: int, *, bad: bool) -> Table:
    """Prepare a table of 200 columns: a key, then names, integers and decimals by turns."""
    del bad  # this shape has no contract to break
    headers = ["Key", *(f"Column {number:03d}" for number in range(2, WIDE_COLUMNS + 1))]
    names = [f"{given} {surname}" for given in GIVEN for surname in SURNAMES]
    return Table(headers, (_wide_row(number, names) for number in range(rows)), names)


def _wide_row(number: int, names: Sequence[str]) -> Row:
    """Make up one wide row."""
    row: list[Value] = [f"K{number:07d}"]
    dice = _mix(number) & 0xFFFFFFFF
    for column in range(1, WIDE_COLUMNS):
        dice = (dice * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        if column % 2:
            row.append(names[(dice >> 10) % len(names)])
        elif column % 4:
            row.append(dice >> 12)
        else:
            row.append((dice >> 12) / 100)
    return row


SHAPES: dict[str, Callable[..., Table]] = {"businesses": _businesses, "numbers": _numbers, "wide": _wide}


# --- The sheet as XML ------------------------------------------------------------------

XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
STYLE_DAY, STYLE_MOMENT = 1, 2  # places in cellXfs of the style sheet below
TextCell = Callable[[str, str], str]


def _escape(text: str) -> str:
    """Replace what XML would take for markup."""
    if "&" in text or "<" in text or ">" in text:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


def _text(text: str) -> str:
    """Wrap a string; a reader may drop white space at its ends unless told to keep it."""
    if text != text.strip() or "\n" in text:
        return f'<t xml:space="preserve">{_escape(text)}</t>'
    return f"<t>{_escape(text)}</t>"


def _inline_cell(ref: str, text: str) -> str:
    """Write a cell that holds its string itself."""
    return f'<c r="{ref}" t="inlineStr"><is>{_text(text)}</is></c>'


class SharedStrings:
    """The table of strings; goes to a temporary file while the sheet is written to the archive."""

    def __init__(self, spool: IO[bytes], repeated: Iterable[str]) -> None:
        """Take the strings that may come again; all others get a new number unseen."""
        self._spool = spool
        self._numbers = dict.fromkeys(repeated, -1)
        self._pending: list[str] = []
        self.count = 0
        self.unique = 0

    def cell(self, ref: str, text: str) -> str:
        """Write a cell that points to its string."""
        number = self._numbers.get(text)
        if number is None or number < 0:
            if number is not None:
                self._numbers[text] = self.unique
            number = self.unique
            self.unique += 1
            self._pending.append(f"<si>{_text(text)}</si>")
            if len(self._pending) == CHUNK_ROWS:
                self._flush()
        self.count += 1
        return f'<c r="{ref}" t="s"><v>{number}</v></c>'

    def _flush(self) -> None:
        """Move the waiting strings to the file."""
        self._spool.write("".join(self._pending).encode())
        self._pending.clear()

    def save(self, part: IO[bytes]) -> None:
        """Copy the table into the archive, now that its size is known."""
        self._flush()
        head = f'{XML}<sst xmlns="{MAIN}" count="{self.count}" uniqueCount="{self.unique}">'
        part.write(head.encode())
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, part, 1 << 20)
        part.write(b"</sst>")


# Keyed by the exact type, because bool and Day are also int, and Moment is also float.
CELLS: dict[type, Callable[[str, Value], str]] = {
    int: lambda ref, value: f'<c r="{ref}"><v>{value}</v></c>',
    float: lambda ref, value: f'<c r="{ref}"><v>{repr(value).removesuffix(".0")}</v></c>',
    bool: lambda ref, value: f'<c r="{ref}" t="b"><v>{value:d}</v></c>',
    Day: lambda ref, value: f'<c r="{ref}" s="{STYLE_DAY}"><v>{value}</v></c>',
    Moment: lambda ref, value: f'<c r="{ref}" s="{STYLE_MOMENT}"><v>{value!r}</v></c>',
}


def _other_cell(ref: str, value: Value) -> str:
    """Write a cell that is not text."""
    if isinstance(value, ErrorCell):
        return f'<c r="{ref}" t="e"><v>{value.code}</v></c>'
    if isinstance(value, Formula):
        return f'<c r="{ref}"><f>{_escape(value.text)}</f></c>'
    return CELLS[type(value)](ref, value)


def _letters(number: int) -> str:
    """Name a column, counted from 0: A to Z, then AA and so on."""
    rest, last = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + last)


def _row(number: int, row: Row, letters: Sequence[str], text_cell: TextCell) -> str:
    """Write one row; a value of None is a cell that is not there."""
    parts = [f'<row r="{number}">']
    for letter, value in zip(letters, row, strict=True):
        if isinstance(value, str):
            parts.append(text_cell(f"{letter}{number}", value))
        elif value is not None:
            parts.append(_other_cell(f"{letter}{number}", value))
    parts.append("</row>")
    return "".join(parts)


def _sheet(table: Table, rows: int, text_cell: TextCell) -> Iterator[bytes]:
    """Write the sheet piece by piece."""
    letters = [_letters(number) for number in range(len(table.headers))]
    yield (
        f'{XML}<worksheet xmlns="{MAIN}"><dimension ref="A1:{letters[-1]}{rows + 1}"/>'
        '<sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft"'
        ' state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>'
        f'<cols><col min="1" max="{len(letters)}" width="20" customWidth="1"/></cols><sheetData>'
    ).encode()
    parts = [_row(1, table.headers, letters, text_cell)]
    for number, row in enumerate(table.rows, start=2):
        parts.append(_row(number, row, letters, text_cell))
        if len(parts) >= CHUNK_ROWS:
            yield "".join(parts).encode()
            parts.clear()
    yield ("".join(parts) + "</sheetData></worksheet>").encode()


# --- The workbook around it ------------------------------------------------------------

STYLES = (
    f'{XML}<styleSheet xmlns="{MAIN}"><numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="1"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


def _content_types(names: Iterable[tuple[str, str]]) -> str:
    """List the parts of the archive and what kind of XML each one is."""
    rels = "application/vnd.openxmlformats-package.relationships+xml"
    return (
        f'{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="{rels}"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        + "".join(f'<Override PartName="/xl/{name}.xml" ContentType="{TYPES}.{kind}+xml"/>' for name, kind in names)
        + "</Types>"
    )


def _links(targets: Iterable[tuple[str, str]]) -> str:
    """List the parts that another part refers to, as rId1, rId2 and so on."""
    return (
        f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{OFFICE}/{kind}" Target="{target}.xml"/>'
            for number, (target, kind) in enumerate(targets, start=1)
        )
        + "</Relationships>"
    )


def _small_parts(title: str, *, shared: bool) -> dict[str, str]:
    """Write the parts that tie the archive together; shared strings are named only where they exist."""
    parts = [("worksheets/sheet1", "worksheet"), ("styles", "styles")]
    if shared:
        parts.append(("sharedStrings", "sharedStrings"))
    return {
        "[Content_Types].xml": _content_types([("workbook", "sheet.main"), *parts]),
        "_rels/.rels": _links([("xl/workbook", "officeDocument")]),
        "xl/workbook.xml": f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
        "<bookViews><workbookView/></bookViews>"
        f'<sheets><sheet name="{title}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _links(parts),
        "xl/styles.xml": STYLES,
    }


def _open_part(archive: zipfile.ZipFile, name: str, *, large: bool = False) -> IO[bytes]:
    """Start a part; fixed time, system and rights, because they are in the bytes of the file too."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=large)


def _write_sheet(archive: zipfile.ZipFile, table: Table, rows: int, text_cell: TextCell) -> None:
    """Stream the sheet into the archive."""
    large = rows * len(table.headers) > LARGE_SHEET
    with _open_part(archive, "xl/worksheets/sheet1.xml", large=large) as part:
        for piece in _sheet(table, rows, text_cell):
            part.write(piece)


def make(
    path: str | PathLike[str],
    rows: int = 10_000,
    strings: str = "shared",
    *,
    bad: bool = True,
    shape: str = "businesses",
) -> None:
    """Write a workbook with so many data rows; only the shape "businesses" can have bad ones."""
    if not 0 <= rows <= MAX_ROWS:
        msg = f"a sheet holds 0 to {MAX_ROWS} data rows, not {rows}"
        raise ValueError(msg)
    if strings not in STRINGS or shape not in SHAPES:
        msg = f"unknown kind of strings or shape: {strings!r}, {shape!r}"
        raise ValueError(msg)
    table = SHAPES[shape](rows, bad=bad)
    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryFile() as spool:
        for name, content in _small_parts(shape.title(), shared=strings == "shared").items():
            with _open_part(archive, name) as part:
                part.write(content.encode())
        if strings == "inline":
            _write_sheet(archive, table, rows, _inline_cell)
            return
        shared = SharedStrings(spool, table.repeated)
        _write_sheet(archive, table, rows, shared.cell)
        with _open_part(archive, "xl/sharedStrings.xml") as part:
            shared.save(part)


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Write an Excel workbook of invented businesses.")
    parser.add_argument("out", metavar="OUT.xlsx", help="the file to write")
    parser.add_argument("--rows", type=int, default=10_000, help="data rows (default: %(default)s)")
    parser.add_argument("--strings", choices=STRINGS, default="shared", help="where the text is kept")
    parser.add_argument(
        "--bad",
        type=int,
        choices=(len(BAD), 0),
        default=len(BAD),
        help="bad rows, only in the shape businesses (default: %(default)s)",
    )
    parser.add_argument("--shape", choices=tuple(SHAPES), default="businesses", help="what the columns hold")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        make(options.out, options.rows, options.strings, bad=options.bad > 0, shape=options.shape)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
