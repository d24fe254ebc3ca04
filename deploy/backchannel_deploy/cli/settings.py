"""Settings that are wrong, as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from backchannel_deploy.errors import UserError

__all__ = ["checked"]


@contextmanager
def checked() -> Iterator[None]:
    """Turns the mistakes of settings that are read in the block into one `UserError`, which names
    every setting and no value: that may be a secret."""
    from pydantic import ValidationError

    from backchannel import SettingsError

    try:
        yield
    except SettingsError as error:
        raise UserError(f"Settings: {error}.") from error
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(
            f"{_variable(mistake['loc'])}{mistake['msg'].removeprefix('Value error, ')}"
            for mistake in mistakes
        )
        raise UserError(f"Settings: {told}.") from error


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0]).upper() if loc else ""
    return f"BACKCHANNEL_{name.removeprefix('BACKCHANNEL_')}: " if name else ""
