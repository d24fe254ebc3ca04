"""Expected trouble: what a person gets told in a sentence, without a traceback."""

__all__ = ["UserError"]


class UserError(Exception):
    """Something is missing or wrong that the person at the terminal can mend.

    The message is a sentence or two: what it is, then what to do. It holds no secret.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
