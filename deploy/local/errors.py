"""What can go wrong on a person's machine."""


class SetupError(Exception):
    """Something the person at the keyboard has to change. The message is one line and says what to type or set."""
