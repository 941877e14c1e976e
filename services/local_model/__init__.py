"""SmolLM2-135M-Instruct behind an OpenAI-compatible server, so that daytwo can be tried without a key or a network."""
