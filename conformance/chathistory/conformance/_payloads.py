"""The catalogue of edge values: texts, numbers, contents and what is no message, as data without randomness.

Values are shared by everyone who imports them: never change one; copy it where a message is to own it.
`hard` names why a store may refuse a value cleanly ("exact or refused"); whatever has no such reason must be
kept. `hard_reasons` computes the same from any message or value.
"""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.messages.base import TextAccessor
from langchain_core.runnables.graph import NodeStyles

from chathistory.conformance._hardness import DEEP_NESTING, LARGE_INT, LONE_SURROGATE, NOT_JSON, NUL, SIZE
from chathistory.conformance._hardness import hard_reasons as hard_reasons  # part of the catalogue
from chathistory.conformance._program import AddCall, Container


@dataclass(frozen=True, slots=True)
class Text:
    """An edge text; `hard` names why a store may refuse it cleanly, "" if it must keep it."""

    name: str
    value: str
    hard: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """An edge value of any type; `hard` names why a store may refuse it cleanly, "" if it must keep it."""

    name: str
    value: Any
    hard: str = ""


class NotMessages(NamedTuple):
    """An add that must be refused: what it is given, in which container, through which call (ERR-1)."""

    name: str
    messages: tuple[Any, ...]
    container: Container
    call: AddCall


def filled(size: int, last: str = "!") -> str:
    """A text of exactly `size` ASCII characters: a unit of seven, so that no chunk looks like another."""
    unit = "abcdefg"
    return (unit * (size // len(unit) + 1))[: size - 1] + last


_WHITE_SPACE = (
    Text("empty", ""),
    Text("one space", " "),
    Text("trailing spaces", "a  "),
    Text("leading spaces", "  a"),
    Text("leading newline", "\na"),
    Text("trailing newline", "a\n"),
    Text("blank lines around", "\n\na\n\n\n"),
    Text("CRLF", "a\r\nb\r\n"),
    Text("lone CR", "a\rb"),
    Text("tab", "\ta\tb\t"),
    Text("no-break space", "\u00a0a\u00a0"),
    Text("NEL", "a\u0085b"),
    Text("line and paragraph separators", "a\u2028b\u2029c"),
)

_CONTROLS = (
    Text("NUL inside", "a\x00b", NUL),
    Text("NUL only", "\x00", NUL),
    Text("NUL at the end", "a\x00", NUL),
    Text("C0 controls", "".join(map(chr, range(1, 32)))),
    Text("DEL and C1 controls", "".join(map(chr, range(127, 160)))),
    Text("escape sequence", "\x1b[31mred\x1b[0m"),
)

_UNICODE = (
    Text("BOM at the start", "\ufeffa"),
    Text("NFC", "\u00e9"),
    Text("NFD", "e\u0301"),
    Text("NFC and NFD", "\u00e9e\u0301"),
    Text("compatibility forms", "\ufb01 \uff11 \u00bd \u212b"),
    Text("mojibake", "\u00c3\u00a9"),
    Text("emoji", "\U0001f600"),
    Text("ZWJ family", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"),
    Text("flags", "\U0001f1eb\U0001f1f7\U0001f1ef\U0001f1f5"),
    Text("skin tone and variation selector", "\U0001f44d\U0001f3fd \u2764\ufe0f"),
    Text("right to left", "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"),
    Text("bidi override", "a\u202eb\u202cc\u2066d\u2069"),
    Text("combining pile", "z" + "\u0300\u0316\u0334" * 20),
    Text("zero width", "a\u200bb\u2060c\u00add"),
    Text("noncharacters", "a\ufffe\uffff\ufdd0b"),
    Text("private use", "\ue000\U000f0000"),
    Text("replacement character", "\ufffd"),
    Text("last code point", "\U0010ffff"),
    Text("tags and variation selectors", "".join(map(chr, (*range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0))))),
    Text("beyond the basic plane, one of each block", "".join(map(chr, range(0x1_00A5, 0x11_0000, 0x100)))),
    # What others are written as by those who can't write them as they are.
    Text("full-width forms", "".join(map(chr, range(0xFF01, 0xFF5F)))),
    Text("control pictures", "".join(map(chr, range(0x2400, 0x2427)))),
    Text(
        "look-alikes of delimiters",
        "\u2024\u2044\u2215\u29f8\ua789\u2236\ufe52\ufe55\u2216\u2223\u00a6\u2217\u02bc\u201a",
    ),
    Text(
        "private use, by the byte",
        "".join(map(chr, (*range(0xE000, 0xE100), *range(0xF000, 0xF100), *range(0xF780, 0xF800)))),
    ),
    Text("lone high surrogate", "a\ud83d", LONE_SURROGATE),
    Text("lone low surrogate", "\ude00b", LONE_SURROGATE),
    Text("surrogates that escape bytes", "\udcc3\udca9", LONE_SURROGATE),
    Text("two adjacent surrogates", "a\ud83d\ude00b", LONE_SURROGATE),
)

_LC_TEXT = (
    '{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"], '
    '"kwargs": {"content": "x"}}'
)

LOOKALIKES: tuple[Text, ...] = (
    Text("JSON number", "123"),
    Text("JSON null", "null"),
    Text("JSON true", "true"),
    Text("JSON overflow", "1e400"),
    Text("JSON NaN", "NaN"),
    Text("JSON object", '{"a": 1}'),
    Text("JSON array", "[]"),
    Text("JSON string", '"quoted"'),
    Text("JSON message", '{"type": "human", "data": {"content": "x"}}'),
    Text("JSON messages", '[{"type": "human", "data": {"content": "x"}}]'),
    Text("lc constructor", _LC_TEXT),
    Text("lc secret", '{"lc": 1, "type": "secret", "id": ["HOME"]}'),
    Text("Python literals", "None True b'x' __import__('os')"),
    Text("SQL", "'; DROP TABLE message_store; --"),
    Text("SQL parameters", "%s %(x)s ? :1 $1 :name @p"),
    Text("SQL wildcards", "100% _ [a-z]"),
    Text("format strings", "{0} {x!r} %d ${HOME} {} %"),
    Text("doubled percent signs", "100%% of %%s and %%(x)s"),
    Text("doubled braces", "{{x}} and {{}}"),
    Text("empty format field", "a {} b"),
    Text("format field of the content", "{content} {self} {message} {session_id}"),
    Text("doubled dollars and quotes", "$$x $x ''a'' \"\"b\"\""),
    Text("environment variables", "$HOME ${PATH} %PATH% ~"),
    Text("escaped line breaks", "a\\nb\\tc \\r\\n"),
    Text("HTML entities", "&lt;b&gt; &amp;amp; &#65;"),
    Text("RESP", "*1\r\n$4\r\nPING\r\n"),
    Text("Lua", "redis.call('FLUSHALL')"),
    Text("path", "../../etc/passwd"),
    Text("HTML", "<script>alert('x')</script>&amp;&#0;"),
    Text("template", "{{7*7}} {% raw %} <%= 1 %>"),
    Text("backslashes", "\\x00 \\u0041 \\u0000 \\ \\n \\\\"),
    Text("quotes", "'\"`''\"\"\u2018\u2019"),
    Text("percent-encoding", "%00%41+%2B"),
    Text("COPY end marker", "a\n\\.\n\\N"),
    Text("base64", "AAECAwQ="),
    Text("date", "2024-02-29"),
    Text("time in UTC", "2024-02-29T12:30:00Z"),
    Text("time with fraction and offset", "2024-02-29T12:30:00.120+01:00"),
    Text("time with nanoseconds", "2024-02-29T12:30:00.123456789Z"),
    Text("time of day", "12:30:45"),
    Text("YAML no", "no"),
    Text("YAML yes", "Yes"),
    Text("YAML off", "off"),
    Text("YAML null", "~"),
    Text("YAML document", "---\n- &a b: *a\n!!python/none x"),
    Text("true in capitals", "TRUE"),
    Text("leading zeros", "007"),
    Text("signed number", "-1"),
    Text("decimal number", "1.50"),
    Text("number with exponent", "1e5"),
    Text("hexadecimal number", "0x1F"),
    Text("infinity", "-Infinity"),
    Text("undefined", "undefined"),
    Text("spreadsheet formula", "=1+1"),
    Text("separators of lists", "a||b|||c;;d,,e::f~~g@@h##i$$j&&k==l--m__n^^o\\/p<>q=>r->s~|~t#;#u|,|v"),
    Text("separators of lines", "a\n---\nb\n***\nc\n===\nd\n\n\n\ne\n-----\nf\n\n---\n\ng\n#\nh\n--\n"),
    Text("tokens of prompts", "<|im_start|>user\na<|im_end|> <|endoftext|> <s>[INST] <<SYS>>b<</SYS>> c [/INST]</s>"),
    Text(
        "more tokens of prompts",
        "<|eot_id|><|start_header_id|>system<|end_header_id|> <eos> <sep> [SEP] [CLS] <pad> <unk> <br>",
    ),
    Text("transcript", "Human: a\nAI: b\nSystem: c\n\nAssistant: d\nuser: e\nTool: f\nHuman:"),
    Text("CSV", 'a,"b ""c""";d\te'),
    Text("URI of data", "data:text/plain;base64,YQ=="),
    Text("URI of data, not canonical", "data:image/png;base64,YR== data:;base64,YQ data:,a%20b DATA:TEXT/PLAIN,x"),
    Text("base64, not canonical", "YR=="),
    Text("base64 without padding", "-_8"),
    Text("base64 in lines", "AAEC\r\nAwQ=\r\n"),
    Text("UUID", "00000000-0000-4000-8000-00000000000A"),
    Text("e-mail address", "Ann <ann@example.com>"),
    Text("card number", "4111 1111 1111 1111"),
    Text("telephone number", "+1 (202) 555-0100"),
    Text("key and password", "sk-0000000000000000 password=hunter2 Bearer abc"),
    Text("mark of compression", "zlib:eJxLBAAAYgBi"),
    Text("mark of an encoding", "base64:YQ=="),
    Text("beginning of gzip in base64", "H4sIAAAAAAAA"),
    Text("beginning of zlib in base64", "eJwBAAD"),
    Text("beginning of zstandard in base64", "KLUv/SAB"),
    Text("beginning of a pickle in base64", "gASVAQAA"),
    Text("beginning of a Fernet token", "gAAAAABl"),
    Text("beginning of gzip", "\x1f\x8b\x08"),
    Text("mark of JSON", "json:{}"),
    Text("mark of a cipher", "enc:YQ=="),
    Text("link", "https://ann:pw@example.test:80/a/../b?x=%41&y#z"),
)
"""Texts that look like something to be read, run, or put right (VAL-7)."""

_SIZES = (
    Text("long word", filled(5_000)),
    Text("64 KB less one byte", filled(65_535)),
    Text("64 KB", filled(65_536)),
    Text("64 KB and one byte", filled(65_537)),
    Text("64 KB boundary in a character of two bytes", filled(65_536, "\u00e9") + "!"),
    Text("64 KB boundary in a character of four bytes", filled(65_535, "\U0001f600") + "!"),
    Text("64 KB in characters of three bytes", "\u20ac" * 21_900 + "!"),
    Text("every character of the basic plane", "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0x10000))))),
    Text("long, with a NUL", filled(70_000) + "a\x00b", NUL),
    Text("long, with a lone surrogate", filled(5_000) + "a\ud83d", LONE_SURROGATE),
    Text("longer, with a lone surrogate", filled(70_000) + "a\ud83d", LONE_SURROGATE),
    Text("400 KB and one byte", filled(409_601), SIZE),
    Text("1 MB", filled(1_048_576), SIZE),
)

TEXTS: tuple[Text, ...] = _WHITE_SPACE + _CONTROLS + _UNICODE + LOOKALIKES + _SIZES
"""Texts for any place that holds text (VAL-2, VAL-5, VAL-7)."""


def nested(levels: int) -> Any:
    """A leaf inside so many lists and dicts in turn."""
    value: Any = "leaf"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


_INTS = (
    Value("0", 0),
    Value("1", 1),
    Value("-1", -1),
    Value("2**31", 2**31),
    Value("2**53", 2**53),
    Value("2**53 + 1", 2**53 + 1),
    Value("-(2**63)", -(2**63)),
    Value("2**63 - 1", 2**63 - 1),
    Value("2**63", 2**63, LARGE_INT),
    Value("-(2**63) - 1", -(2**63) - 1, LARGE_INT),
    Value("2**64", 2**64, LARGE_INT),
    Value("10**30", 10**30, LARGE_INT),
    Value("10**400", 10**400, LARGE_INT),
)

_FLOATS = (
    Value("0.0", 0.0),
    Value("-0.0", -0.0),
    Value("0.1", 0.1),
    Value("0.1 + 0.2", 0.1 + 0.2),
    Value("1.0", 1.0),
    Value("1.5", 1.5),
    Value("2.0**53", 2.0**53),
    Value("1e22", 1e22),
    Value("1e-300", 1e-300),
    Value("smallest float", 5e-324),
    Value("largest float", 1.7976931348623157e308),
)

SCALARS: tuple[Value, ...] = (
    *_INTS,
    *_FLOATS,
    Value("True", True),
    Value("False", False),
    Value("None", None),
)
"""Numbers, booleans and None, each alone (VAL-4)."""


def _keys_of_the_basic_plane() -> dict[str, int]:
    """Keys of 64 characters each, in which each character occurs once that is in use for anything at all."""
    characters = "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0x10000))))
    return {characters[place : place + 64]: 1 for place in range(0, len(characters), 64)}


_LC_DICT = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "x"},
}

CONTAINERS: tuple[Value, ...] = (
    Value("empty list", []),
    Value("empty dict", {}),
    Value("empty key", {"": ""}),
    Value("empty containers inside", {"a": [], "b": {}, "c": [[], {}, [[]]]}),
    Value("mixed scalars", [1, 1.0, True, None, "1"]),
    Value("mixed scalars in a dict", {"i": 1, "f": 1.0, "b": True, "n": None, "s": "1", "z": -0.0}),
    Value("falsy scalars", [0, 0.0, False, None, "", [], {}]),
    Value("nested 20 levels", nested(20)),
    Value("nested 120 levels", nested(120), DEEP_NESTING),
    Value("keys like numbers", {"1": "a", "01": "b", "1.0": "c", "-1": "d", "1e0": "e"}),
    Value("keys like other types", {"null": 1, "None": 2, "true": 3, "True": 4}),
    Value("keys with dots", {"a.b": 1, "a": {"b": 2}, ".": 3}),
    Value("keys with white space", {" a": 1, "a ": 2, "a": 3, "a\n": 4}),
    Value("keys with operators", {"$ref": "#/a", "$set": {"$oid": "x"}, "a[0]": 1, "#n": ":v", "%s": "?"}),
    Value("keys in NFC and NFD", {"\u00e9": 1, "e\u0301": 2, "\u00c9": 3}),
    Value("keys of Python and JavaScript", {"__class__": "x", "__proto__": {"a": 1}, "constructor": 1}),
    Value("keys of 300 characters", {filled(300): 1, filled(300, "?"): 2}),
    Value("key with a NUL", {"a\x00b": 1}, NUL),
    Value("key with a lone surrogate", {"a\ud83d": 1}, LONE_SURROGATE),
    Value("fields of a message", {"type": "human", "data": {"content": "x"}, "content": 1, "id": 2}),
    Value("lc constructor as dict", _LC_DICT),
    Value("lc secret as dict", {"lc": 1, "type": "secret", "id": ["HOME"]}),
    Value("keys of a list", {"0": "a", "1": "b"}),
    Value("keys in characters of the basic plane", _keys_of_the_basic_plane()),
    Value("embedding", [number / 10 for number in range(1, 65)]),
    Value("bytes in a list", list(range(256))),
    Value("list of one value", [7] * 40),
    Value("list of booleans", [True, False] * 20),
    Value("a thousand integers", list(range(1_000))),
    Value("rows", [{"a": number, "b": None} for number in range(20)]),
    Value("matrix", [[1.0, 0.0], [0.0, 1.0]]),
    Value("typed values of DynamoDB", {"S": "x", "N": "1", "M": {"L": []}, "NULL": True}),
)
"""Lists and dicts of JSON values (VAL-4, VAL-7)."""

KEY_ORDERS: tuple[Value, ...] = (
    Value("key order z a m", {"z": 1, "a": 2, "m": 3}),
    Value("key order by length", {"ccc": 1, "bb": 2, "a": 3}),
    Value("key order nested", {"z": {"y": 1, "b": 2}, "a": [{"d": 1, "c": {"q": 1, "p": 2}}]}),
    Value("key order of integers", {"10": "a", "9": "b", "-1": "c", "2": "d"}),
    Value("key order of a hundred", {f"k{37 * number % 101}": number for number in range(100)}),
)
"""Dicts whose keys stand in none of the usual orders (VAL-8)."""

NUMBERS: tuple[Value, ...] = SCALARS + CONTAINERS + KEY_ORDERS
"""Every JSON value that is no text: for any place that holds a value (VAL-4)."""

UNSTORABLE: tuple[Value, ...] = tuple(
    Value(name, value, NOT_JSON)
    for name, value in (
        ("nan", math.nan),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("nan in a list", [1.0, math.nan]),
        ("bytes", b"a\x00\xff"),
        ("bytearray", bytearray(b"ab")),
        ("set", {1, 2}),
        ("frozenset", frozenset({"a"})),
        ("complex", 1 + 2j),
        ("Decimal", Decimal("1.10")),
        ("datetime", dt.datetime(2024, 2, 29, 12, 30, 0, 1, tzinfo=dt.timezone.utc)),
        ("naive datetime", dt.datetime(2024, 2, 29, 12, 30)),
        ("date", dt.date(2024, 2, 29)),
        ("UUID", uuid.UUID(int=1)),
        ("object", SimpleNamespace(a=1)),
        ("dataclass", NodeStyles(default="a", first="b", last="c")),
        # What a retriever that is a tool gives for its artifact.
        ("document", Document(page_content="a", metadata={"n": 1})),
        ("documents", [Document(page_content="a")]),
        ("message inside", {"message": HumanMessage(content="x")}),
        ("key that is bytes", {b"a": 1}),
        ("member of an enumeration", uuid.SafeUUID.safe),
        ("path", PurePosixPath("a/b")),
        ("range", range(3)),
        ("deque", deque([1, "a"])),
        ("colliding keys 1", {1: "a", "1": "b"}),
        ("colliding keys True", {True: "a", "True": "b"}),
        ("colliding keys true", {True: "a", "true": "b"}),
        ("colliding keys None", {None: 1, "None": 2}),
        ("colliding keys null", {None: 1, "null": 2}),
        ("colliding keys 1.5", {1.5: "a", "1.5": "b"}),
    )
)
"""What JSON can't hold exactly: kept exactly, or refused (VAL-6)."""

UNUSUAL: tuple[Value, ...] = tuple(
    Value(name, value, NOT_JSON)
    for name, value in (
        # What `message.text` gives is a subclass of str.
        ("subclass of str", TextAccessor("text")),
        ("subclass of int", HTTPStatus.OK),
        ("subclass of dict", OrderedDict({"b": 1, "a": OrderedDict({"d": 2})})),
        ("tuple", (1, "a")),
        ("empty tuple", ()),
        ("named tuple", urlsplit("https://x.test/a?b#c")),
        ("tuple in a list", [(1, 2)]),
        ("tuple in a dict", {"a": {"b": ("c",)}}),
        ("int keys", {1: "a", 2: "b"}),
        ("key that is a tuple", {(1, 2): "a", "b": 1}),
        ("None key", {None: "a"}),
        ("bool keys", {True: "a", False: "b"}),
        ("float keys", {1.5: "a", 2.0: "b"}),
        ("int keys nested", {"a": [{0: "b"}]}),
    )
)
"""What becomes something near it in JSON: should be kept exactly, or refused (VAL-10)."""

CONTENTS: tuple[Value, ...] = (
    Value("empty text", ""),
    Value("text", "hello"),
    Value("list of str", ["a", "b"]),
    Value("list of one str", ["a"]),
    Value("list with an empty str", ["", "a", ""]),
    Value("empty list", []),
    Value("one text block", [{"type": "text", "text": "a"}]),
    Value("text blocks", [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]),
    Value("str and dict blocks", ["a", {"type": "text", "text": "b"}, "c"]),
    Value(
        "image_url block",
        [{"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}],
    ),
    Value("image_url block with a text", [{"type": "image_url", "image_url": "https://x.test/a.png"}]),
    Value("base64 image block", [{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}]),
    Value("audio block", [{"type": "audio", "base64": "UklGRg==", "mime_type": "audio/wav"}]),
    Value(
        "file block",
        [{"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf", "extras": {"n": 1}}],
    ),
    Value(
        "tool_use block",
        [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"z": 1.0, "a": [None]}}],
    ),
    Value("reasoning block", [{"type": "reasoning", "reasoning": "because", "summary": [], "id": None}]),
    Value("unknown block", [{"type": "x-unknown", "value": {"a": [1, 1.0, True, None, {"b": {}}]}}]),
    Value("blocks with extra keys", [{"type": "text", "text": "a", "index": 0, "cache_control": {"type": "x"}}]),
    Value("blocks without type", [{"text": "a"}, {}]),
    Value("block like an lc constructor", [_LC_DICT]),
    Value("1 MB", filled(1_048_576), SIZE),
    Value("300 blocks", [{"type": "text", "text": f"block {number}"} for number in range(300)]),
)
"""Contents of a message (VAL-2)."""

_NOT_A_MESSAGE: tuple[tuple[str, Any], ...] = (
    ("None", None),
    ("str", "text"),
    ("bytes", b"x"),
    ("int", 1),
    ("dict", {"role": "user", "content": "x"}),
    ("serialised message", {"type": "human", "data": {"content": "x"}}),
    ("tuple", ("human", "x")),
    ("list", [HumanMessage(content="x")]),
    ("object", object()),
    ("message class", HumanMessage),
    ("object like a message", SimpleNamespace(type="human", content="x", id=None, additional_kwargs={})),
    ("holder of a message", SimpleNamespace(message=HumanMessage(content="x"), text="x")),
    ("empty str", ""),
    ("zero", 0),
    ("False", False),
    ("empty list", []),
    ("empty dict", {}),
)
_NOT_A_SEQUENCE: tuple[tuple[str, Any], ...] = (
    ("None", None),
    ("str", "text"),
    ("message", HumanMessage(content="x")),
    ("int", 1),
    ("dict", {"role": "user", "content": "x"}),
    ("dict of messages", {"m1": HumanMessage(content="x")}),
)

NOT_MESSAGES: tuple[NotMessages, ...] = (
    *(NotMessages(f"{name} in the list", (value,), "list", "add_messages") for name, value in _NOT_A_MESSAGE),
    *(NotMessages(f"{name} for the list", (value,), "bare", "add_messages") for name, value in _NOT_A_SEQUENCE),
    *(NotMessages(f"{name} for the message", (value,), "list", "add_message") for name, value in _NOT_A_MESSAGE),
)
"""Adds of what is no message, one item each (ERR-1)."""
