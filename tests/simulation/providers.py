"""Providers of models as twins, with a bill: who called under which attempt id, and the tokens that are charged for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from daytwo.audit.bill import Charge
from daytwo.records import DeploymentConfigured
from services.inference_router.ports import Reply, Silence
from tests.simulation.network import Network, give

KINDS: Final = (
    "status_429",
    "status_500",
    "status_400",
    "status_401",
    "hang",
    "cut",
    "slow",
    "refused",
    "garbage",
    "no_usage",
    "cut_off",
    "empty",
)
"""How a provider can fail. `hang`, `cut`, `slow`, `garbage` and those after it are charged."""
UNCHARGED: Final = ("status_429", "status_500", "status_400", "status_401")


@dataclass(slots=True, kw_only=True)
class Moods:
    """How the deployments behave from now until a moment: one of KINDS, with a probability."""

    deployment: str
    kind: str
    probability: float
    until: float


@dataclass
class Providers:
    """`idempotent`: the same attempt id again is answered again and charged once."""

    network: Network
    idempotent: bool = False
    bill: list[Charge] = field(default_factory=list)
    moods: list[Moods] = field(default_factory=list)
    _answered: dict[str, Reply] = field(default_factory=dict)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def call(
        self, deployment: DeploymentConfigured, body: bytes, attempt_id: str, timeout_s: float, on_its_way: Callable[[], None]
    ) -> Reply | Silence:
        network = self.network
        answer: asyncio.Future[Reply | Silence] = network.loop.create_future()
        there = network.delay()
        network.later(there, on_its_way)
        if self._mood(deployment.deployment) == "refused":
            network.later(there, give, answer, Silence(reason="connection", sent=False))
        else:
            network.later(there, self._land, answer, deployment.deployment, body, attempt_id)
        network.later(timeout_s, give, answer, Silence(reason="timeout", sent=True))
        return await answer

    def _mood(self, deployment: str) -> str:
        for mood in self.moods:
            meant = mood.deployment in ("", deployment) and self.network.loop.time() < mood.until
            if meant and self.network.rng.random() < mood.probability:
                return mood.kind
        return ""

    def _land(self, answer: asyncio.Future[Reply | Silence], deployment: str, body: bytes, attempt_id: str) -> None:
        mood = self._mood(deployment)
        if mood.startswith("status_"):
            self._tell(deployment, attempt_id, mood)
            self._reply(answer, _failed(int(mood[7:])))
        elif self.idempotent and (before := self._answered.get(attempt_id)) is not None:
            self._tell(deployment, attempt_id, "answered again, charged once")
            self._reply(answer, before)
        else:
            self._charged(answer, deployment, body, attempt_id, mood)

    def _charged(self, answer: asyncio.Future[Reply | Silence], deployment: str, body: bytes, attempt_id: str, mood: str) -> None:
        asked = orjson.loads(body)
        input_tokens = sum(len(message.get("content") or "") for message in asked["messages"]) // 4 + 1
        output_tokens = min(8, asked["max_tokens"])
        self.bill.append(Charge(attempt_id, input_tokens, output_tokens))
        self._tell(deployment, attempt_id, f"charged {input_tokens}+{output_tokens} {mood}")
        text = f"{deployment} says to {asked['messages'][-1]['content'][-40:]}"
        reply = self._answered[attempt_id] = Reply(status=200, body=_body(text, input_tokens, output_tokens, mood))
        if mood == "hang":
            return
        most_s = 12.0 if mood == "slow" else 1.2 if deployment == "narrow" else 0.5
        self._reply(answer, Silence(reason="cut", sent=True) if mood == "cut" else reply, most_s)

    def _reply(self, answer: asyncio.Future[Reply | Silence], end: Reply | Silence, most_s: float = 0.5) -> None:
        thinking = 0.02 if self.network.calm else self.network.rng.random() * most_s
        self.network.later(thinking + self.network.delay(), give, answer, end)

    def _tell(self, deployment: str, attempt_id: str, what: str) -> None:
        self.network.story.tell(f"{attempt_id[:8]} {what}", f"provider {deployment}")


def _failed(status: int) -> Reply:
    return Reply(status=status, body=b'{"error": {"message": "no"}}', retry_after="1" if status == 429 else None)


def _body(text: str, input_tokens: int, output_tokens: int, mood: str) -> bytes:
    if mood == "garbage":
        return b'{"choices": [{"mess'
    content = "" if mood == "empty" else text
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "length" if mood == "cut_off" else "stop"}
    usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": input_tokens + output_tokens}
    answer: Mapping[str, object] = {"choices": [choice], **({} if mood == "no_usage" else {"usage": usage})}
    return orjson.dumps(answer)
