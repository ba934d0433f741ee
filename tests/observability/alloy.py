"""Alloy's configuration as blocks and attributes: as much of its grammar as the shipped file needs."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'[ \t]*(//[^\n]*|"(?:\\.|[^"\\\n])*"|[A-Za-z_][\w.]*|\d[\w.]*|[{}\[\](),=+]|\n)')
_OPEN, _CLOSE = "{[(", "}])"


@dataclass
class Block:
    """``name "label" { attributes and blocks }``. An attribute's value is the list of its tokens."""

    name: str
    label: str | None = None
    attributes: dict[str, list[str]] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)


def parse(text: str) -> list[Block]:
    """The blocks of a file; AssertionError where it is none."""
    tokens = _tokens(text)
    whole = Block("")
    _read_body(tokens, whole)
    assert not tokens, f"unexpected {tokens[-1]}"
    assert not whole.attributes, "an attribute outside of a block"
    return whole.blocks


def _tokens(text: str) -> list[str]:
    """In reverse, to be popped from the end."""
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        assert match, f"cannot be read: {text[place : place + 40]!r}"
        place = match.end()
        if not match[1].startswith("//"):
            found.append(match[1])
    return [*found, "\n"][::-1]


def _read_body(tokens: list[str], into: Block) -> None:
    while tokens:
        if (token := tokens.pop()) == "\n":
            continue
        if token == "}":
            tokens.append(token)
            return
        if tokens[-1] == "=":
            tokens.pop()
            assert token not in into.attributes, f"{token} twice"
            into.attributes[token] = _read_value(tokens)
        else:
            into.blocks.append(_read_block(token, tokens))


def _read_block(name: str, tokens: list[str]) -> Block:
    label = tokens.pop().strip('"') if tokens[-1].startswith('"') else None
    block = Block(name, label)
    assert tokens.pop() == "{", f"{name} has no body"
    _read_body(tokens, block)
    assert tokens, f"{name} does not end"
    assert tokens.pop() == "}"
    return block


def _read_value(tokens: list[str]) -> list[str]:
    value, depth = [], 0
    while depth or (tokens[-1] != "\n" and not (tokens[-1] in _CLOSE and not depth)):
        token = tokens.pop()
        depth += (token in _OPEN) - (token in _CLOSE)
        if token != "\n":
            value.append(token)
    assert value
    return value
