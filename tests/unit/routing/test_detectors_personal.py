"""What each detector of personal data finds, and what only looks like it."""

from __future__ import annotations

import pytest

from spillway.routing.detection.inspect import inspect


def found(text: str) -> str | None:
    rule = inspect({"prompt": text}, {"PII"})
    return rule if rule is None else rule.removeprefix("detector:")


@pytest.mark.parametrize(
    "text",
    [
        "my number is 123-45-6789.",
        "123 45 6789",
        "123.45.6789",
        "123/45/6789",
        "123_45_6789",
        "123\u201145\u20116789",
        "123\u00a045\u00a06789",
        "123 \u2014 45 \u2014 6789",
        "(123-45-6789)",
        "000-12-3456 123-45-6789",
        "hello123-45-6789hello",
        "SSN: 123456789",
        "ssn=123456789",
        "social security number 123456789",
    ],
)
def test_social_security_numbers_are_found(text: str) -> None:
    assert found(text) == "ssn"


@pytest.mark.parametrize(
    "text",
    [
        "000-45-6789",
        "666-45-6789",
        "900-45-6789",
        "123-00-6789",
        "123-45-0000",
        "1234-45-6789",
        "123-45-67890",
        "123, 45, 6789",
        "order 123456789",
        "SSN: 987654321",
        "2024-01-15",
        "",
    ],
)
def test_numbers_that_are_no_social_security_numbers_are_not(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "write to jane.doe+x@example.co.uk today",
        "<a@b.io>",
        "mailto:o'brien@example.ie?subject=x",
        "JANE@EXAMPLE.COM",
        "jane\uff20example\uff0ecom",
        "user@ec2-host.compute.amazonaws.com",
        "x@1and1.com",
    ],
)
def test_mailboxes_are_found(text: str) -> None:
    assert found(text) == "email"


@pytest.mark.parametrize(
    "text",
    [
        "user@localhost",
        "@decorator",
        "a @ b.com",
        "npm install react@18.2.0-rc.1",
        "left-pad@1.0.0-next.rc",
        "icon@2x.png",
        "git@github.com:team/repository.git",
        "uses: actions/checkout@v4",
        "image@sha256:9f5189c0e1b2a3d4",
        "matrix A@B.T",
    ],
)
def test_what_has_an_at_sign_and_is_no_mailbox_is_not(text: str) -> None:
    assert found(text) is None


CARDS = [
    "4111 1111 1111 1111",
    "4111111111111111",
    "4111-1111-1111-1111",
    "4111.1111.1111.1111",
    "4111 / 1111 / 1111 / 1111",
    "4111, 1111, 1111, 1111",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "41111111 11111111",
    "5555 5555 5555 4444",
    "2223 0031 2200 3222",
    "3782 822463 10005",
    "3714-496353-98431",
    "6011 1111 1111 1117",
    "3530 1113 3330 0000",
    "3056 930902 5904",
    "6205 5000 0000 0000 004",
    "\uff16\uff10\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff17",
]


@pytest.mark.parametrize("number", CARDS)
@pytest.mark.parametrize("around", ["{}", "card {}, expires 12/27, code 123", "order 12 {}", "x{}x"])
def test_payment_cards_are_found_however_they_are_grouped(number: str, around: str) -> None:
    if around == "order 12 {}" and number.startswith("4 1"):
        around = "order no. {}"  # digits that stand alone before it would belong to the run
    assert found(around.format(number)) == "card"


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # Luhn
        "1234 5678 9012 3452",  # Luhn, but no issuer
        "4111111111111",  # 13 digits, no longer issued
        "0.4111111111111111",
        "41111111111111111111111",  # one long number
        "9780306406157",  # ISBN
        "4006381333931",  # EAN, German prefix
        "1700000000000000",  # microseconds
        "1Z999AA10123456784",  # a parcel
        "9400 1000 0000 0000 0000 00",
        "2019, 2020, 2021, 2022, 2023",
        "5.1, 3.5, 1.4, 0.2, 4.9, 3.0, 1.4, 0.2",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_long_numbers_that_are_no_cards_are_not(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "de89370400440532013000",
        "IBAN: GB29-NWBK-6016-1331-9268-19, thanks",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S and more",
        "BE68.5390.0754.7034",
        "pay CH93 0076 2011 6238 5295 7 today",
    ],
)
def test_account_numbers_are_found(text: str) -> None:
    assert found(text) == "iban"


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",  # mod 97
        "DE89 3704 0044 0532 0130",  # too short
        "DE893704004405320130000",  # too long
        "XX89 3704 0044 0532 0130 00",
        "be68539007547034a1b2c3d4e5f60718293a4b5c",  # a hash
        "at20 the time of writing this text was new",
    ],
)
def test_what_begins_like_an_account_number_is_none(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "+1 415 555 2671",
        "+14155552671",
        "+44 20 7946 0958",
        "+49 (0)30 1234567",
        "+33.6.12.34.56.78",
        "+91-98765-43210",
        "tel:+81312345678",
        "(415) 555-2671",
        "(415)555-2671",
        "415-555-2671",
        "415.555.2671",
        "1-800-555-2671",
        "020 7946 0958",
        "07700 900123",
        "06 12 34 56 78",
        "030/1234567",
        "0171 1234567",
        "Phone: 5552671",
        "fax no. 555 26 71",
        '{"mobile": "98765 43210"}',
        "whatsapp 9876543210",
    ],
)
def test_telephone_numbers_are_found(text: str) -> None:
    assert found(text) == "phone"


@pytest.mark.parametrize(
    "text",
    [
        "version 10.0.19041",
        "2024-01-15T10:30:00+00:00",
        "10:30:00+0200",
        "x = a+12345678",
        "+1700000000",
        "+20240115",
        "256 512 1024",
        "order 415-555-26711",
        "order 9415-555-2671",
        "911-555-2671",
        "115-555-2671",
        "part 415-555-2671-88",
        "mobile release 2024-01-15",
        "ISBN 0-306-40615-2",
        "978-0-306-40615-7",
        "550e8400-e29b-41d4-a716-446655440000",
        "call 555-0123",
        "port 8080, 8443",
        "tracking 00340434161094021501",
    ],
)
def test_numbers_that_nobody_can_call_are_not(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "81.2.69.142",
        "from 81.2.69.142:443",
        "http://81.2.69.142/x",
        "81.2.69.142/32",
        "81.2.69.142 - - [15/Jan/2024]",
        "It was 81.2.69.142.",
        "2a02:2f0e:d108:5a00::1",
        "[2a02:2f0e:d108:5a00:1:2:3:4]:443",
        "2003:00e4:7f2a:0001:0000:0000:0000:0001",
    ],
)
def test_public_addresses_are_found(text: str) -> None:
    assert found(text) == "ip"


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.17 and 192.168.1.20 and 172.16.4.9 and 127.0.0.1 and 169.254.169.254 and 100.64.1.2",
        "192.0.2.7 and 198.51.100.7 and 203.0.113.7",  # documentation
        "8.8.8.8 and 1.1.1.1",
        "224.0.0.251 and 0.0.0.0 and 255.255.255.255",
        "version 81.2.69.142",
        "Chrome/120.0.6099.109",
        "v81.2.69.142",
        "81.2.69.142.7",
        "section 3.2.1.4",
        "3.2.1.4",
        "10.0.19041.1",
        "81.2.69.0",
        "12:34:56:78",
        "2001:db8::1",
        "fe80::1 and ::1 and fd00::1",
        "std::cout << add::bad",
        "00:1a:2b:3c:4d:5e",
    ],
)
def test_addresses_of_nobody_are_not(text: str) -> None:
    assert found(text) is None
