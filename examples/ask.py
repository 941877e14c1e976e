"""Ask a question and print the answer: python examples/ask.py"""

import asyncio
import os

from daytwo.client import Client


async def main() -> None:
    async with Client(os.environ.get("DAYTWO_KAFKA", "127.0.0.1:9092"), tenant="support") as daytwo:
        result = await daytwo.ask("What does a consumer group do?", max_tokens=60)
        if result.message is not None:
            print(result.message.content)  # noqa: T201


asyncio.run(main())
