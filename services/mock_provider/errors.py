"""The two ways a caller can be wrong; both are answered with status 400 and the error's text."""


class InvalidSettingError(ValueError):
    """A configuration or fault rule that cannot be used; the text names the field and what it takes."""


class InvalidRequestError(ValueError):
    """A chat request that an OpenAI-compatible server refuses; the text names the field and what it takes."""
