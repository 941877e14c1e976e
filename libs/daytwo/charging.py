"""What an attempt costs, and at most can cost: the one rule of cost-meter, which reserves, and inference-router, which books.

Money is integer nano-dollars. The one rounding: the exact sum of an attempt, discount included, is rounded up once to a whole
nano-dollar, so it is never booked below its price. What is larger than an attempt (request, user, month) is the sum of whole
numbers, and so exactly the sum of its parts.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from daytwo.records import Quote, Usage

MTOK: Final = 1_000_000
HOUR_S: Final = 3600

PASSAGE_BYTES_BOUND: Final = 4096
"""Most UTF-8 bytes of a passage's text in a grounded prompt; what is longer is cut."""
PASSAGE_OVERHEAD_BYTES: Final = 64
"""Most bytes around it: its number, its title (cut), line ends."""
PROMPT_OVERHEAD_TOKENS: Final = 512
"""Most bytes of fixed text, instructions for grounding included, and of tokens that chat templates add once."""


def charge(quote: Quote, usage: Usage) -> int:
    """Nano-dollars of one attempt that used `usage`; cached input, reasoning and images at their own prices.

    Raises ValueError for counts that cannot be: book `bound_nano` then.
    """
    fresh = usage.input_tokens - usage.cached_input_tokens
    written = usage.output_tokens - usage.reasoning_tokens
    if fresh < 0 or written < 0 or usage.cached_input_tokens < 0 or usage.reasoning_tokens < 0 or usage.images < 0:
        raise ValueError(f"impossible usage: {usage}")
    of_tokens = (
        fresh * quote.input_nano_per_mtok
        + usage.cached_input_tokens * quote.cached_input_nano_per_mtok
        + written * quote.output_nano_per_mtok
        + usage.reasoning_tokens * _reasoning(quote)
    )
    return _booked(quote, of_tokens, usage.images)


def bound_nano(quote: Quote, input_tokens: int, output_tokens: int) -> int:
    """Nano-dollars one attempt costs at most that reads and writes no more tokens than these, cached or not, reasoning or not.

    For requests in words: no image is in it.
    """
    dearest_input = max(quote.input_nano_per_mtok, quote.cached_input_nano_per_mtok)
    dearest_output = max(quote.output_nano_per_mtok, _reasoning(quote))
    return _booked(quote, input_tokens * dearest_input + output_tokens * dearest_output, 0)


def machine_nano_per_mtok(hour_nano: int, tokens_per_s: float) -> int:
    """Nano-dollars per million tokens of a model on a machine of one's own, rounded up.

    `hour_nano`: what an hour of the machine costs; `tokens_per_s`: what it was measured to do under load, input and output
    together, above 0. A machine that stands idle costs more than its tokens say.
    """
    return -(-hour_nano * MTOK // (HOUR_S * Fraction(str(tokens_per_s))))


def _reasoning(quote: Quote) -> int:
    return quote.output_nano_per_mtok if quote.reasoning_nano_per_mtok is None else quote.reasoning_nano_per_mtok


def _booked(quote: Quote, of_tokens: int, images: int) -> int:
    """`of_tokens` is tokens x nano-dollars per million tokens."""
    exact = of_tokens + MTOK * (quote.request_nano + images * quote.image_nano)
    if quote.discount_permille:
        return -(-exact * (1000 - quote.discount_permille) // (1000 * MTOK))
    return -(-exact // MTOK)
