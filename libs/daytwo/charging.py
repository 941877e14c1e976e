"""What an attempt costs, and at most can cost: the one rule of cost-meter, which reserves, and inference-router, which books.

Money is integer nano-dollars. The exact sum of an attempt is rounded up once, so it is never booked below its price.
"""

from __future__ import annotations

from typing import Final

from daytwo.records import Quote, Usage

MTOK: Final = 1_000_000

PASSAGE_BYTES_BOUND: Final = 4096
"""Most UTF-8 bytes of a passage's text in a grounded prompt; what is longer is cut."""
PASSAGE_OVERHEAD_BYTES: Final = 64
"""Most bytes around it: its number, its title (cut), line ends."""
PROMPT_OVERHEAD_TOKENS: Final = 512
"""Most bytes of fixed text, instructions for grounding included, and of tokens that chat templates add once."""


def charge(quote: Quote, usage: Usage) -> int:
    """Nano-dollars of one attempt that used `usage`; cached input at its own price.

    Raises ValueError for counts that cannot be: book `bound_nano` then.
    """
    fresh = usage.input_tokens - usage.cached_input_tokens
    if fresh < 0 or usage.cached_input_tokens < 0 or usage.output_tokens < 0:
        raise ValueError(f"impossible usage: {usage}")
    exact = (
        fresh * quote.input_nano_per_mtok
        + usage.cached_input_tokens * quote.cached_input_nano_per_mtok
        + usage.output_tokens * quote.output_nano_per_mtok
    )
    return quote.request_nano - (-exact // MTOK)


def bound_nano(quote: Quote, input_tokens: int, output_tokens: int) -> int:
    """Nano-dollars one attempt costs at most that reads and writes no more tokens than these, cached or not."""
    dearest_input = max(quote.input_nano_per_mtok, quote.cached_input_nano_per_mtok)
    return quote.request_nano - (-(input_tokens * dearest_input + output_tokens * quote.output_nano_per_mtok) // MTOK)
