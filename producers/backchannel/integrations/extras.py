"""What is said where the library of an integration is not installed."""

from backchannel.errors import BackchannelError

__all__ = ["MissingExtraError"]


class MissingExtraError(BackchannelError, ImportError):
    """An integration is imported without its library. The message says what to install."""

    def __init__(self, extra: str) -> None:
        super().__init__(
            f"backchannel.integrations.{extra} needs a library that is not installed:"
            f' pip install "backchannel[{extra}]"'
        )
        self.extra = extra
