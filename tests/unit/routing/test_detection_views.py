"""What the detectors see of a request: decoded, folded, joined, and nothing that is too deep or no text."""

from __future__ import annotations

import base64
import gzip
import random
from urllib.parse import quote

import orjson
import pytest

from spillway.routing.detection import inspect as inspection
from spillway.routing.detection import scan
from spillway.routing.detection.escapes import unescape
from spillway.routing.detection.fold import fold, tags
from spillway.routing.detection.inspect import DEEPEST_LAYER, UNINSPECTABLE, inspect
from spillway.routing.detection.pieces import collect
from spillway.routing.detection.scan import Scanner

BOTH = frozenset({"PII", "Secrets"})
SSN = "123-45-6789"
CARD = "4111 1111 1111 1111"
KEY = "AI" + "za" + "q7Zt3Rk9Wm2Xc8Vb5Np4Lj6Hg1Fd0SaQwEr"


def said(*texts: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain", "plain"),
        ("\uff11\uff12\uff13\uff0d\uff14", "123-4"),
        ("\u0661\u0662\u0663", "123"),
        ("\U0001d7d9\U0001d7da\U0001d7db", "123"),
        ("\u2460\u2461\u2462", "123"),
        ("\u00b9\u00b2\u00b3", "123"),
        ("1\u200b2\u200d3\u00ad4\u20605\ufeff6", "123456"),
        ("1\u03362\u03363", "123"),
        ("1\x002\x083", "123"),
        ("1\u20132\u20143\u22124\u20115", "1-2-3-4-5"),
        ("1\u00a02\u20093\u30004", "1 2 3 4"),
        ("\U0001d423\U0001d41a\U0001d427\U0001d41e", "jane"),
        ("j\u0430n\u0435", "jane"),
        ("\u0391KIA", "AKIA"),
        ("caf\u00e9", "cafe"),
        ("a\u3002b\u00b7c", "a.b.c"),
        ("\u4f1a\u8b70", "\u4f1a\u8b70"),
        ("a\tb\nc", "a\tb\nc"),
    ],
)
def test_text_is_folded_to_what_a_reader_takes_it_for(written: str, read: str) -> None:
    assert fold(written) == read
    assert fold(fold(written)) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\u0031\u0032", "12"),
        (r"\ud835\udfd9", "\U0001d7d9"),
        (r"\u{31}\U00000032\x33", "123"),
        ("%31%32%E2%82%AC", "12\u20ac"),
        ("&#49;&#x32;&#51 &amp; &commat;", "123 & @"),
        (r"a\nb\tc\"d\/e", 'a\nb\tc"d/e'),
        ("%3\x1f1", "1"),
        (r"100% \u12 &zzz; C:\Users", r"100% \u12 &zzz; C:\Users"),
    ],
)
def test_escapes_are_resolved_in_place(written: str, read: str) -> None:
    assert unescape(written) == read


def test_an_escape_is_found_wherever_the_text_is_cut_for_speed() -> None:
    for padding in range(16_370, 16_390):
        assert unescape("x" * padding + " \\u0031\\u0032") == "x" * padding + " 12"


@pytest.mark.parametrize("token", ["\\u0031", "%31", "&#49;", "%E2%82%AC", "\\ud835\\udfd9"])
def test_escapes_without_end_are_cut_nowhere(token: str) -> None:
    assert unescape(token * 9_000) == unescape(token) * 9_000
    assert unescape(("x" * 7 + token) * 9_000) == ("x" * 7 + unescape(token)) * 9_000


HIDDEN = {
    "as it is": SSN,
    "fullwidth": "".join(chr(ord(letter) + 0xFEE0) for letter in SSN),
    "zero width": "\u200b".join(SSN),
    "json": "".join(f"\\u{ord(letter):04x}" for letter in SSN),
    "json in json": orjson.dumps(orjson.dumps("".join(f"\\u{ord(letter):04x}" for letter in SSN)).decode()).decode(),
    "url": "".join(f"%{ord(letter):02x}" for letter in SSN),
    "url twice": quote("".join(f"%{ord(letter):02X}" for letter in SSN)),
    "entities": "".join(f"&#{ord(letter)};" for letter in SSN),
    "entities of base 16": "".join(f"&#x{ord(letter):x};" for letter in SSN),
    "base64": in_base64(SSN),
    "base64 without padding": in_base64(SSN).rstrip("="),
    "base64 with words around": f"so: {in_base64('my number is ' + SSN + ' indeed')} ok?",
    "base64 one later": in_base64("x" + SSN),
    "base64 two later": in_base64("xy" + SSN),
    "base64 for URLs": base64.urlsafe_b64encode(("\u00ff\u00fe??>>" + SSN).encode()).decode(),
    "base64 glued to a word": "word" + in_base64("a  " + SSN + "  b") + "word",
    "base64 in lines": base64.encodebytes(("text " * 20 + SSN + " text" * 20).encode()).decode(),
    "base64 in short lines": "\n".join([in_base64("a b " + SSN)[at : at + 8] for at in range(0, 24, 8)]),
    "base64 in indented lines": "\n   ".join([in_base64("a b " + SSN)[at : at + 8] for at in range(0, 24, 8)]),
    "base64 twice": in_base64(in_base64(SSN)),
    "base64 of fullwidth": in_base64("".join(chr(ord(letter) + 0xFEE0) for letter in SSN)),
    "base64 of an URL": in_base64("".join(f"%{ord(letter):02x}" for letter in SSN)),
    "a text's data URL": "data:text/plain;base64," + in_base64(SSN),
    "hexadecimal": SSN.encode().hex(),
    "hexadecimal with blanks": SSN.encode().hex(" "),
    "bytes of a program": "".join(f"\\x{ord(letter):02x}" for letter in SSN),
    "tags": "".join(chr(0xE0000 + ord(letter)) for letter in SSN),
}


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_no_encoding_hides_a_match(text: str) -> None:
    # what is encoded twice can look like a card on the way
    assert inspect(said(f"please look: {text} and answer"), BOTH) in {"detector:ssn", "detector:card"}


@pytest.mark.parametrize(
    "texts",
    [
        ("it is 123-4", "5-6789 now"),
        ("it is 123", "45", "6789 now"),
        ("it is 2", "123-45-6789", "7 now"),
        ("it is 2", "12", "3-", "45", "67", "89"),
        tuple(SSN),
        ("%3", "1%32%33-45-6789"),
        (in_base64("a b " + SSN)[:9], in_base64("a b " + SSN)[9:]),
        (SSN.encode().hex()[:7], SSN.encode().hex()[7:]),
    ],
)
def test_no_seam_hides_a_match(texts: tuple[str, ...]) -> None:
    assert inspect(said(*texts), BOTH) == "detector:ssn"
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}]}
    assert inspect(parts, BOTH) == "detector:ssn"
    arguments = orjson.dumps({f"a{index}": text for index, text in enumerate(texts)}).decode()
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    assert inspect({"messages": [{"role": "assistant", "tool_calls": [call]}]}, BOTH) == "detector:ssn"


@pytest.mark.parametrize("texts", [("hello" + KEY[:2], KEY[2:9], KEY[9:] + "."), ("jane@exam", "ple.com")])
def test_what_is_no_number_is_found_across_seams_too(texts: tuple[str, ...]) -> None:
    assert inspect(said(*texts), BOTH) in {"detector:google-key", "detector:email"}


@pytest.mark.parametrize(
    "texts",
    [
        ("look: N", "DE1LTU1NS0yNjcx\nWhat now?"),
        ("hey", "NDE1LTU", "1NS0yNjcx."),
        ("hey", "NDE1LTU", "1NS0yNjcx", "What now?"),
    ],
)
def test_words_before_and_behind_do_not_hide_what_is_encoded_and_cut(texts: tuple[str, ...]) -> None:
    assert base64.b64encode(b"415-555-2671") == b"NDE1LTU1NS0yNjcx"
    assert inspect(said(*texts), BOTH) == "detector:phone"


def noise(count: int) -> bytes:
    return random.Random(7).randbytes(count)


OPAQUE = {
    "a picture": "data:image/png;base64,iVBORw0KGgo=",
    "a picture with parameters": "data:image/svg+xml;charset=utf-8;base64,PHN2Zz48L3N2Zz4=",
    "bytes in base64": base64.b64encode(noise(300)).decode(),
    "bytes in lines": base64.encodebytes(noise(600)).decode(),
    "bytes for URLs": base64.urlsafe_b64encode(noise(300)).decode().rstrip("="),
    "compressed text": base64.b64encode(gzip.compress(noise(200) + (SSN * 50).encode())).decode(),
    "bytes inside JSON": orjson.dumps({"file": base64.encodebytes(noise(600)).decode()}).decode(),
}


@pytest.mark.parametrize("text", OPAQUE.values(), ids=OPAQUE)
def test_a_payload_that_is_no_text_cannot_be_inspected(text: str) -> None:
    assert inspect(said(f"what is this? {text}"), BOTH) == UNINSPECTABLE


@pytest.mark.parametrize(
    "text",
    [
        in_base64("a text that is long enough to be taken for a payload, 12 times. " * 12),
        base64.encodebytes(("a text in lines, with 12 numbers, and more. " * 20).encode()).decode(),
        in_base64("\u4f1a\u8b70\u306f\u4e00\u6708\u306b\u79fb\u52d5\u3057\u307e\u3057\u305f\u3002 12 " * 12),
        "sha512-" + in_base64(noise(64).decode("latin-1"))[:86] + "==",
        "ACGT" * 100,
        "/a/b/c" * 80,
        noise(200).hex(),
    ],
)
def test_long_runs_that_are_text_or_no_base64_are_no_payload(text: str) -> None:
    assert inspect(said(text), BOTH) is None


def nested(layers: int) -> str:
    text = SSN
    for _ in range(layers):
        text = in_base64(text)
    return text


def test_what_is_opened_is_opened_to_the_stated_depth_and_no_deeper() -> None:
    assert inspect(said(nested(DEEPEST_LAYER - 1)), BOTH) == "detector:ssn"
    assert inspect(said(nested(DEEPEST_LAYER)), BOTH) == UNINSPECTABLE


def test_a_text_that_is_too_large_to_be_opened_counts_as_uninspectable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MOST_CHARACTERS", 1000)
    assert inspect(said("word " * 150), BOTH) is None
    assert inspect(said("word " * 250), BOTH) == UNINSPECTABLE
    assert inspect(said("%77ord " * 100), BOTH) == UNINSPECTABLE  # twice 700


def test_every_string_and_number_of_a_body_is_among_its_pieces() -> None:
    body = {
        "a": ["b", {"c": 1, "d": 2.5, "e": None, "f": True}],
        "g": '{"h": ["i", 3], "j": "[\\"k\\"]"}',
        "l" * 99: "",
    }
    text = collect(body).text()
    for part in ("a", "b", "c", "1", "d", "2.5", "g", "h", "i", "3", "j", "k", "l" * 99):
        assert part in text


def test_tags_are_read_as_the_letters_that_they_stand_for() -> None:
    assert tags("flag \U000e0031\U000e0032 and") == "12"
    assert tags("ascii") == ""


@pytest.mark.parametrize("detector", scan.ALL, ids=lambda detector: f"{detector.name} {detector.pattern[:20]}")
def test_every_detector_names_where_its_format_is_from(detector: scan.Detector) -> None:
    assert "http" in detector.source or "rfc" in detector.source
    assert detector.name in scan.NAMES


def test_the_words_of_the_rules_are_few_and_fit_for_a_label() -> None:
    assert len(scan.NAMES) < 60
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in scan.NAMES)


def test_one_pass_for_all_misses_nothing_that_a_pass_for_each_finds() -> None:
    # a set of RE2 that runs out of memory says "nothing" without a word
    scanner = Scanner(BOTH)
    one_each = [Scanner({family}) for family in BOTH]
    chance = random.Random(3)
    for _ in range(40):
        filler = chance.randbytes(20_000)
        for needle in (SSN.encode(), CARD.encode(), KEY.encode(), b"jane@example.com", b"-----BEGIN PRIVATE KEY-----"):
            text = filler[:9_000] + b" " + needle + b" " + filler[9_000:]
            assert scanner.scan(text) is not None
            assert any(single.scan(text) for single in one_each)


@pytest.mark.parametrize(
    "texts",
    [
        ["hi", "415", "-555-2671"],
        ["hi", "415-555", "-2671"],
        ["hi", in_base64(in_base64("DE89 3704 0044 0532 0130 00")) + "\nWhat ", "now?"],
        ["hi", "for\nus", in_base64("123-45-6789, as agreed") + "\nW", "h", "at", " now?"],
    ],
)
def test_what_is_cut_beside_words_of_other_pieces_is_read(texts: list[str]) -> None:
    assert inspect(said(*texts), BOTH)


def test_a_parameter_behind_a_number_does_not_run_into_it() -> None:
    assert inspect(said("hi", "4111 11", "1", "1 1111 1111") | {"max_tokens": 1, "n": 2}, BOTH) == "detector:card"
    assert inspect({"seed": 4111111111111111}, BOTH) == "detector:card"
