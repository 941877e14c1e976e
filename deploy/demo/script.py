"""What is asked in the demo: sixty-odd questions of three tenants, with repeats and paraphrases. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from daytwo.records import Grounding

COLLECTION: Final = "stdlib"
SESSIONS: Final = 6
"""Sessions of a tenant; requests of one session keep their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a tenant asks."""

    instruction: str
    max_tokens: int
    grounding: Grounding | None = None


MANNERS: Final = {
    "strict": Manner(instruction="Answer in one short sentence.", max_tokens=32),
    "helpdesk": Manner(
        instruction=(
            "You are the help desk of a shoe shop. Answer in one short sentence. "
            "Delivery takes 3 days, returns are free for 30 days, parcels have a tracking number."
        ),
        max_tokens=80,
    ),
    "manual": Manner(instruction="You explain Python.", max_tokens=72, grounding=Grounding(collection=COLLECTION, top_k=2)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One question as it is asked."""

    tenant: str
    session: str
    text: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A question, and the same in other words."""

    question: str
    paraphrases: tuple[str, ...] = ()


HELPDESK: Final = (
    Topic("How do I reset my password?", ("How can I reset my password?", "I want to reset my password, how do I do that?")),
    Topic("Where is my parcel?", ("Where is my parcel right now?", "Where is my parcel now, please?")),
    Topic("Can I return shoes that do not fit?", ("The shoes do not fit. Can I return them?",)),
    Topic("Do you ship to Norway?", ("Do you also ship to Norway?", "Is it possible to ship to Norway?")),
    Topic("How long does delivery take?", ("How long does a delivery usually take?", "How long will the delivery take?")),
    Topic("Which payment methods do you accept?", ("What payment methods do you accept?",)),
    Topic("How do I cancel my order?", ("How can I cancel my order?",)),
    Topic("Where can I download my invoice?", ("How can I download my invoice?",)),
    Topic("Do you sell gift cards?", ("Do you sell gift cards as well?",)),
    Topic("How do I unsubscribe from the newsletter?", ("I'd like to unsubscribe from the newsletter.",)),
)

ONE_SENTENCE: Final = "Name the function and say in one short sentence what it does."
"""Behind passages, the small model heeds only the question itself; what it does not bring to an end is not learned."""


def _short(*texts: str) -> Topic:
    question, *paraphrases = [f"{text} {ONE_SENTENCE}" for text in texts]
    return Topic(question, tuple(paraphrases))


MANUAL: Final = (
    _short("How do I parse command line arguments?", "How can I parse the arguments of the command line?"),
    _short("How do I push an item onto a heap?"),
    _short("How can I measure the time of small code snippets?"),
    _short("How do I read a CSV file?", "How can I read a CSV file?"),
    _short("How do I make a temporary directory?", "How can I create a temporary directory?"),
    _short("How do I wrap a long text into lines?"),
    _short("How do I find the insertion point in a sorted list?"),
    _short("How do I encode bytes as base64?", "How can I encode bytes with base64?"),
)

STRICT: Final = (
    "What is the capital of France?",
    "What is the capital of Italy?",
    "How many legs has a spider?",
    "What is the opposite of hot?",
    "How many days has a week?",
    "What is the capital of Spain?",
    "What is the capital of Norway?",
    "How many hours has a day?",
    "What is the opposite of big?",
    "What is the capital of Japan?",
    "How many months has a year?",
    "What is the opposite of old?",
)
"""Asked one by one until the budget is used up; the first one then once more."""

OUTAGE: Final = ("When are you open on Sunday?", "How do I delete my account?", "Do I get points for every purchase?")
"""New questions of the help desk while its first deployment is away."""

RETURN: Final = (
    "Which brands are on sale?",
    "Can I book a fitting?",
    "Do you repair old boots?",
    "Is there parking nearby?",
    "Are dogs welcome?",
)
"""New questions of the help desk until the deployment answers again."""


def in_flight_together() -> tuple[Line, Line]:
    """One question of two sessions at the same moment: one of them is answered by the other."""
    text = "Is there a discount for students?"
    return Line(tenant="helpdesk", session="twin-1", text=text), Line(tenant="helpdesk", session="twin-2", text=text)


def first_round() -> list[Line]:
    """Every question once; the two equal ones at the beginning, tenants in turn."""
    return [*in_flight_together(), *_in_turn(_asked("helpdesk", HELPDESK), _asked("manual", MANUAL))]


def second_round() -> list[Line]:
    """The same in other words, and every other question word for word."""
    helpdesk, manual = (list(_again(tenant, topics)) for tenant, topics in (("helpdesk", HELPDESK), ("manual", MANUAL)))
    return list(_in_turn(helpdesk, manual))


def _asked(tenant: str, topics: Sequence[Topic]) -> list[Line]:
    return [_line(tenant, place, topic.question) for place, topic in enumerate(topics)]


def _again(tenant: str, topics: Sequence[Topic]) -> Iterator[Line]:
    place = 0
    for number, topic in enumerate(topics):
        for text in (*topic.paraphrases, *[topic.question][: number % 2]):
            yield _line(tenant, place, text)
            place += 1


def _line(tenant: str, place: int, text: str) -> Line:
    return Line(tenant=tenant, session=f"{tenant}-{place % SESSIONS + 1}", text=text)


def _in_turn(*lists: Sequence[Line]) -> Iterator[Line]:
    longest = max(map(len, lists))
    return (lines[place] for place in range(longest) for lines in lists if place < len(lines))


def means_the_same(text: str, other: str) -> bool:
    """Whether one answer fits both: they are equal, or one topic's."""
    return text == other or any({text, other} <= {topic.question, *topic.paraphrases} for topic in (*HELPDESK, *MANUAL))
