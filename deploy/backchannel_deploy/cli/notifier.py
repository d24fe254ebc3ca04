"""`backchannel notifier`: alerts to people as a process."""

import os
from pathlib import Path

__all__ = ["notifier"]


def notifier(*, file: Path | None = None) -> None:
    """Run the notifier: from chat.alerts to Slack, PagerDuty, e-mail, webhooks. SIGTERM or Ctrl-C
    ends it.

    Kafka is the one of BACKCHANNEL_KAFKA, else of the `backchannel up` that runs here.

    The file says who can be told; without a `[[route]]` everybody is told everything:

        [target.chat]
        apprise = "slack://${SLACK_TOKEN}/#alerts"
        [target.hook]
        webhook = "https://example.com/alerts"
        secrets = ["${HOOK_SECRET}"]
        [[route]]
        severity = ["error", "critical"]
        to = ["hook"]

    Parameters
    ----------
    file
        Targets, routes and inhibitions, a TOML file; also BACKCHANNEL_NOTIFIER_FILE.
    """
    from backchannel_deploy.cli.settings import checked
    from backchannel_deploy.connect import find_kafka
    from backchannel_deploy.errors import UserError
    from backchannel_deploy.up import exit_when_parent_dies
    from backchannel_sinks.notifier.errors import PlanError
    from backchannel_sinks.notifier.settings import NotifierSettings

    if file is not None:
        os.environ["BACKCHANNEL_NOTIFIER_FILE"] = str(file)
    with checked():
        settings = NotifierSettings(kafka=find_kafka())
        plan = settings.plan()
        if not plan.target:
            raise UserError(
                "Nobody to tell: name a target in a file and the file in "
                "BACKCHANNEL_NOTIFIER_FILE. What stands in it: backchannel notifier --help"
            )
        from backchannel_sinks.notifier.run import notifier_main

        exit_when_parent_dies()
        try:
            notifier_main(settings)
        except PlanError as error:
            raise UserError(f"{error}.") from error
