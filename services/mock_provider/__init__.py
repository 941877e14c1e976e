"""A model provider that is not one: OpenAI-compatible, fast, faulty on demand, and keeping a bill to check against."""
