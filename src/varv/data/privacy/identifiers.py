"""Identifiers of people, told by their form and by their check digits.

Sources: ISO 13616 (IBAN, mod 97), ISO/IEC 7812 (Luhn), RFC 5321 in the part that is used, E.164, and the
published rules of national numbers: US social security, Spanish DNI and NIE, Dutch BSN, Polish PESEL, German
tax number (ISO 7064 mod 11,10), French INSEE, British national insurance.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}")
_PHONE = re.compile(
    r"(\+\d{1,3}|\(0?\d{1,4}\)|0\d{1,4}[ /-])[\d ().\-/]{5,18}\d|[2-9]\d{2}[-. ][2-9]\d{2}[-. ]\d{4}"
)
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_SSN = re.compile(r"(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}")
_DNI = re.compile(r"([XYZ]?)(\d{7,8})([A-Z])")
_NINO = re.compile(r"(?![DFIQUV]|.[DFIQUVO]|BG|GB|NK|KN|TN|NT|ZZ)[A-Z]{2}\d{6}[A-D]")
_INSEE = re.compile(r"[12]\d{2}(0[1-9]|1[0-2]|[2-9]\d)\d{8}(\d{2})")
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


class Identifier(NamedTuple):
    """A kind of identifier: what tells one, how often chance does too, and what is proposed for it."""

    kind: str
    is_one: Callable[[str], bool]
    chance: float
    """The share of random texts of its form that pass."""
    treatment: str


def is_email(text: str) -> bool:
    """Return whether a text is an address of mail."""
    return len(text) <= 254 and _EMAIL.fullmatch(text) is not None and ".." not in text


def is_phone(text: str) -> bool:
    """Return whether a text is written like a telephone number: with a plus, a code of its area, or in the
    groups of North America.
    """
    digits = sum(map(str.isdigit, text))
    return 8 <= digits <= 15 and not text.isdigit() and _PHONE.fullmatch(text) is not None


def is_iban(text: str) -> bool:
    """Return whether a text is the number of an account.

    Examples
    --------
    >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE89370400440532013001")
    (True, False)
    """
    compact = text.replace(" ", "").upper()
    if not _IBAN.fullmatch(compact):
        return False
    return int("".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Return whether a text is the number of a payment card.

    Examples
    --------
    >>> is_card("4111 1111 1111 1111"), is_card("4111111111111112")
    (True, False)
    """
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and 13 <= len(digits) <= 19 and digits[0] in "23456"):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def is_ip(text: str) -> bool:
    """Return whether a text is an address of the internet."""
    if not ("." in text or ":" in text):
        return False
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False


def is_us_ssn(text: str) -> bool:
    """Return whether a text is written as a social security number of the United States."""
    return _SSN.fullmatch(text) is not None


def is_spanish_id(text: str) -> bool:
    """Return whether a text is a Spanish DNI or NIE.

    Examples
    --------
    >>> is_spanish_id("12345678Z"), is_spanish_id("12345678A"), is_spanish_id("X1234567L")
    (True, False, True)
    """
    found = _DNI.fullmatch(text.replace("-", "").upper())
    if found is None or len(found[1] + found[2]) != 8:
        return False
    first = {"": "", "X": "0", "Y": "1", "Z": "2"}[found[1]]
    return _DNI_LETTERS[int(first + found[2]) % 23] == found[3]


def is_dutch_bsn(text: str) -> bool:
    """Return whether a text is a Dutch citizen service number.

    Examples
    --------
    >>> is_dutch_bsn("111222333"), is_dutch_bsn("111222334")
    (True, False)
    """
    if not _are_digits(text, 9) or text == "0" * 9:
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(int(digit) * weight for digit, weight in zip(text, weights, strict=True)) % 11 == 0


def is_polish_pesel(text: str) -> bool:
    """Return whether a text is a Polish PESEL, its month of birth included.

    Examples
    --------
    >>> is_polish_pesel("44051401359"), is_polish_pesel("44051401358")
    (True, False)
    """
    if not _are_digits(text, 11) or not 1 <= int(text[2:4]) % 20 <= 12:
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(int(digit) * weight for digit, weight in zip(text, weights, strict=True)) % 10 == 0


def is_german_tax_id(text: str) -> bool:
    """Return whether a text is a German tax identification number.

    Examples
    --------
    >>> is_german_tax_id("86095742719"), is_german_tax_id("86095742718")
    (True, False)
    """
    if not _are_digits(text, 11) or text[0] == "0":
        return False
    product = 10
    for digit in text[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(text[10])


def is_french_insee(text: str) -> bool:
    """Return whether a text is a French social security number with its key."""
    compact = text.replace(" ", "")
    found = _INSEE.fullmatch(compact)
    return found is not None and 97 - int(compact[:13]) % 97 == int(found[2])


def is_british_nino(text: str) -> bool:
    """Return whether a text is a British national insurance number."""
    return _NINO.fullmatch(text.replace(" ", "").upper()) is not None


def _are_digits(text: str, n: int) -> bool:
    return len(text) == n and text.isascii() and text.isdigit()


IDENTIFIERS = (
    Identifier("e-mail address", is_email, 0.0, "pseudonymise"),
    Identifier("telephone number", is_phone, 0.0, "pseudonymise"),
    Identifier("account number (IBAN)", is_iban, 1 / 97, "pseudonymise"),
    Identifier("card number", is_card, 1 / 10, "drop"),
    Identifier("internet address", is_ip, 0.0, "pseudonymise"),
    Identifier("US social security number", is_us_ssn, 0.0, "drop"),
    Identifier("Spanish DNI or NIE", is_spanish_id, 1 / 23, "pseudonymise"),
    Identifier("Dutch BSN", is_dutch_bsn, 1 / 11, "pseudonymise"),
    Identifier("Polish PESEL", is_polish_pesel, 6 / 100, "pseudonymise"),
    Identifier("German tax number", is_german_tax_id, 1 / 10, "pseudonymise"),
    Identifier("French INSEE number", is_french_insee, 1 / 97, "pseudonymise"),
    Identifier("British national insurance number", is_british_nino, 0.0, "pseudonymise"),
)
"""All kinds, the surer ones first."""
