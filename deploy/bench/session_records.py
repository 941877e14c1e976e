"""What sessions ask, and what is read of a result: bytes, without encoding or decoding a record for each. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple, get_args

from daytwo.codec import HEADER_BYTES, encode
from daytwo.records import Message, Outcome, RequestSubmitted
from daytwo.topics import REQUEST_SUBMITTED

RUN_LENGTH: Final = 6
_OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
_STRINGS_BEFORE_OUTCOME: Final = 8
"""request_id to fingerprint."""
_DEADLINE_MS: Final = 1_900_000_000_000
"""Stands in the template; of as many bytes as any moment of these decades."""


class Asked(NamedTuple):
    request_id: bytes
    key: bytes
    value: bytes
    question: bytes


class Asker:
    """Requests of the sessions of one run: a template with the turn, the session and the deadline filled in.

    About 1 KB: instructions, one exchange before, and a question that nobody asked before.
    """

    def __init__(self, run: str, tenant: str) -> None:
        if len(run) != RUN_LENGTH or not run.isalnum():
            raise ValueError(f"run {run!r}: needs {RUN_LENGTH} letters or digits")
        self._head = f"{run}-".encode()
        self._tenant = f"{tenant}/".encode()
        # Numbers of a fixed width leave every length in the record as it is.
        marks = (b"@@@@@@@", b"####")
        self._question = _question(run, *(mark.decode() for mark in marks)).encode()
        self._without = self._template(run, tenant, marks, 0)
        self._with = self._template(run, tenant, marks, _DEADLINE_MS)
        self._marked = (*marks, _long(_DEADLINE_MS))

    def ask(self, session: int, turn: int, *, deadline_ms: int = 0) -> Asked:
        at, mark, deadline = self._marked
        whose, which = b"%07d" % session, b"%04d" % (turn % 10_000)
        value = (self._with if deadline_ms else self._without).replace(at, whose).replace(mark, which)
        if deadline_ms:
            value = value.replace(deadline, _long(deadline_ms), 1)
        question = self._question.replace(at, whose).replace(mark, which)
        return Asked(b"%s%s-%s" % (self._head, whose, which), self._tenant + self._head + whose, value, question)

    def place(self, request_id: bytes) -> tuple[int, int] | None:
        """Session and turn; None for an id of another run."""
        if not request_id.startswith(self._head):
            return None
        session, _, turn = request_id[len(self._head) :].partition(b"-")
        return int(session), int(turn)

    @staticmethod
    def _template(run: str, tenant: str, marks: tuple[bytes, bytes], deadline_ms: int) -> bytes:
        session, turn = (mark.decode() for mark in marks)
        request = RequestSubmitted(
            request_id=f"{run}-{session}-{turn}",
            tenant=tenant,
            user="load",
            session=f"{run}-{session}",
            agent="assistant",
            messages=_conversation(_question(run, session, turn)),
            model="bench",
            max_tokens=64,
            deadline_ms=deadline_ms,
        )
        return encode(REQUEST_SUBMITTED, request)


def _question(run: str, session: str, turn: str) -> str:
    return f"In run {run}, session {session}: what is to be done in step {turn}, and which parts does it need?"


def _conversation(question: str) -> tuple[Message, ...]:
    return (
        Message(
            role="system", content="You are a patient assistant of a parts shop. " + "Answer from the catalogue, in one sentence. " * 6
        ),
        Message(role="user", content="The customer's order has three open positions. " * 4),
        Message(role="assistant", content="Two of them are in stock; the third is ordered and arrives on Thursday. " * 2),
        Message(role="user", content=question),
    )


def outcome_and_reason(value: bytes) -> tuple[str, str]:
    """Of a request-finished record, framing included. A test holds it to the codec."""
    at = HEADER_BYTES
    for _ in range(_STRINGS_BEFORE_OUTCOME):
        length, at = _number(value, at)
        at += length
    outcome, at = _number(value, at)
    length, at = _number(value, at)
    return _OUTCOMES[outcome], value[at : at + length].decode()


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An Avro int that is not negative, and where it ends."""
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found >> 1, at
        shift += 7


def _long(number: int) -> bytes:
    """As Avro writes a long that is not negative."""
    rest, out = number << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
