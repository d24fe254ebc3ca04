"""`backchannel alerts runbook`: what an alert means, what to look at, what to do."""

from importlib.resources import files

from backchannel_deploy.errors import UserError

__all__ = ["runbook", "runbooks"]


def runbook(rule: str = "", /) -> None:
    """Say what an alert of a shipped rule means, what to look at, and what to do.

    Parameters
    ----------
    rule
        The name of the rule; without it all that there is a page of.
    """
    pages = runbooks()
    if not rule:
        for name in sorted(pages):
            print(name)
        return
    if rule not in pages:
        raise UserError(
            f"There is no runbook of {rule}: that is no rule that comes with backchannel. Its own "
            "file says where to look, in `annotations.runbook`. All there are: backchannel alerts "
            "runbook"
        )
    print(pages[rule].rstrip())


def runbooks() -> dict[str, str]:
    """Returns every page, by the name of its rule."""
    folder = files("backchannel_deploy") / "runbooks"
    pages = (each for each in folder.iterdir() if each.name.endswith(".md"))
    return {each.name.removesuffix(".md"): each.read_text("utf-8") for each in pages}
