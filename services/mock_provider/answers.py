"""From a chat request to its answer: what is read, what is said, how tokens are counted. No I/O, no state."""

import math
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from services.mock_provider.distributions import Distribution
from services.mock_provider.errors import InvalidRequestError

MOST_OUTPUT_TOKENS = 32_768
MOST_STREAM_CHUNKS = 32

# Words of four letters, so that any number of them is a slice of a repetition.
_FILLER = "this text says only that some work took time here plus cost once done well "
_FILLER_WORD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What matters of a chat request. `question` is the last user message's text, else the last message's."""

    model: str
    question: str
    prompt_tokens: int
    max_tokens: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The words of an answer; `tokens` of them, a word being a token."""

    text: str
    tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as they are reported to the client and written on the bill."""

    prompt_tokens: int
    completion_tokens: int

    def as_json(self) -> dict[str, object]:
        """The field `usage` of the OpenAI API."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        }


def read_request(body: bytes) -> ChatRequest:
    """The chat request in `body`. Fields that are not used here are ignored. Raises InvalidRequestError."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"body: not JSON: {error}") from None
    if not isinstance(request, dict):
        raise InvalidRequestError("body: needs a JSON object")
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model: needs a model's name")
    if request.get("n") not in (None, 1):
        raise InvalidRequestError("n: only 1 is supported")
    question, prompt_tokens = _read_messages(request.get("messages"))
    options = request.get("stream_options")
    return ChatRequest(
        model=model,
        question=question,
        prompt_tokens=prompt_tokens,
        max_tokens=_read_max_tokens(request),
        stream=request.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _read_messages(messages: object) -> tuple[str, int]:
    """The question, and the prompt's tokens: for each message 4, and 1 for each 4 bytes (begun) of its text.

    So the sum never exceeds the messages' UTF-8 bytes plus 16 a message, which is what daytwo reserves for.
    """
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError("messages: needs a list with at least one message")
    question: str | None = None
    text, tokens = "", 0
    for message in messages:
        if not isinstance(message, dict):
            raise InvalidRequestError("messages: needs a list of objects")
        text = _read_text(message.get("content"))
        size = len(text) if text.isascii() else len(text.encode())
        tokens += 4 + (size + 3) // 4
        if message.get("role") == "user":
            question = text
    return (text if question is None else question), tokens


def _read_text(content: object) -> str:
    """A message's text; of a list of parts, those that are text."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    raise InvalidRequestError("content: needs a text, a list of parts or null")


def _read_max_tokens(request: dict[str, object]) -> int:
    for field in ("max_completion_tokens", "max_tokens"):
        value = request.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidRequestError(f"{field}: needs a whole number >= 1")
        return min(value, MOST_OUTPUT_TOKENS)
    return MOST_OUTPUT_TOKENS


def compose(request: ChatRequest, output_tokens: Distribution, seed: int) -> Answer:
    """The answer to `request`: "answer <hash of the question>: …", cut to `max_tokens`.

    Its length is the quantile of `output_tokens` (tokens) at a share that question and `seed` decide, so that
    many questions are distributed as asked for, and one question always has one answer.
    """
    digest = blake2b(request.question.encode(), digest_size=16).digest()
    mixed = blake2b(digest[8:] + seed.to_bytes(8), digest_size=8).digest() if seed else digest[8:]
    share = _share(mixed)
    wanted = min(max(round(output_tokens.quantile(share)), 1), MOST_OUTPUT_TOKENS)
    tokens = min(wanted, request.max_tokens)
    return Answer(
        text=_say(digest[:8].hex(), tokens),
        tokens=tokens,
        finish_reason="length" if tokens < wanted else "stop",
    )


def latency_share(question: bytes, seed: int) -> float:
    """The share (0 to 1) at which a question's latency is taken where latencies go by question; `question` in UTF-8.

    Whoever asks can compute it too, and so knows to the microsecond what the provider added to an answer's way.
    """
    return _share(blake2b(question, digest_size=8, key=seed.to_bytes(8), person=b"latency").digest())


def _share(digest: bytes) -> float:
    return (int.from_bytes(digest) >> 12) / 2**52


def _say(name: str, tokens: int) -> str:
    """`tokens` words, the first two of which name the question."""
    if tokens == 1:
        return "answer"
    if tokens == 2:
        return f"answer {name}:"
    filler = _FILLER_WORD * (tokens - 2)
    return f"answer {name}: {(_FILLER * (filler // len(_FILLER) + 1))[: filler - 1]}"


def whole_answer(call: str, created_s: int, model: str, answer: Answer, usage: Usage | None) -> bytes:
    """The body of a `chat.completion`; without `usage` when that is None."""
    body: dict[str, object] = {
        "id": call,
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text},
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
        ],
    }
    if usage is not None:
        body["usage"] = usage.as_json()
    return orjson.dumps(body)


def streamed_answer(call: str, created_s: int, model: str, answer: Answer, usage: Usage | None) -> list[bytes]:
    """The server-sent events of an answer, each ready to be written.

    First the role, then the text in at most MOST_STREAM_CHUNKS pieces, the finish reason, `usage` with no choices
    unless it is None, and `[DONE]`.
    """
    frame: dict[str, object] = {"id": call, "object": "chat.completion.chunk", "created": created_s, "model": model}

    def event(choices: list[object], **more: object) -> bytes:
        return b"data: " + orjson.dumps({**frame, "choices": choices, **more}) + b"\n\n"

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        return event([{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in _pieces(answer)]
    events.append(chunk({}, answer.finish_reason))
    if usage is not None:
        events.append(event([], usage=usage.as_json()))
    return [*events, b"data: [DONE]\n\n"]


def _pieces(answer: Answer) -> list[str]:
    """The text in pieces of whole words that, put together, are the text."""
    words = answer.text.split(" ")
    size = math.ceil(len(words) / MOST_STREAM_CHUNKS)
    pieces = [" ".join(words[at : at + size]) for at in range(0, len(words), size)]
    return [pieces[0], *(f" {piece}" for piece in pieces[1:])]
