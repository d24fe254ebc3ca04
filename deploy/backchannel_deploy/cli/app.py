"""The commands, and how the command line ends.

Exit codes: 0 done, 1 it did not work (a sentence says why), 2 the command line itself is wrong,
130 stopped by Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

from backchannel_deploy.cli.alert_desk import ack, list_alerts, show_alert, silence
from backchannel_deploy.cli.alerts import tail
from backchannel_deploy.cli.dead import list_letters, requeue, show
from backchannel_deploy.cli.demo import demo
from backchannel_deploy.cli.doctor import doctor
from backchannel_deploy.cli.erase import erase
from backchannel_deploy.cli.exporter import exporter
from backchannel_deploy.cli.migrate import migrate
from backchannel_deploy.cli.notifier import notifier
from backchannel_deploy.cli.prices import import_prices, list_prices, missing_prices
from backchannel_deploy.cli.rebuild import rebuild
from backchannel_deploy.cli.replay import replay
from backchannel_deploy.cli.report import summary
from backchannel_deploy.cli.retention import retention
from backchannel_deploy.cli.roles import roles
from backchannel_deploy.cli.rules import backtest, check, test
from backchannel_deploy.cli.rules_push import push, versions, withdraw
from backchannel_deploy.cli.runbook import runbook
from backchannel_deploy.cli.schema import schema
from backchannel_deploy.cli.sink import sink
from backchannel_deploy.cli.sql import sql
from backchannel_deploy.cli.status import status
from backchannel_deploy.cli.top import top
from backchannel_deploy.cli.up import up
from backchannel_deploy.cli.verify import verify
from backchannel_deploy.cli.version import version
from backchannel_deploy.cli.whatif import whatif
from backchannel_deploy.cli.worker import worker
from backchannel_deploy.errors import UserError
from backchannel_deploy.extras import missing_extra

__all__ = ["app", "run"]

_USAGE_ERROR = 2
_INTERRUPTED = 130

_TRY = Group("Try it on one machine", sort_key=1)
_LOOK = Group("Look at it", sort_key=2)
_RUN = Group("Run a role (a real deployment)", sort_key=3)
_OPERATE = Group("Operate it", sort_key=4)

app = App(
    name="backchannel",
    help="Metrics of chatbots as a stream: events through Kafka, windows and alerts by Faust, "
    "SQL in ClickHouse.",
    help_format="markdown",
    help_epilogue="Exit codes: 0 done, 1 it did not work or something is wrong (a sentence says "
    "what), 2 the command line itself is wrong, 130 Ctrl-C.",
    # A switch has no opposite, and "nothing" is no default worth a word.
    default_parameter=Parameter(negative="", show_default=lambda value: str(value or "") or None),
    version=lambda: installed("backchannel"),
)
for _command, _group in (
    (up, _TRY),
    (demo, _TRY),
    (replay, _TRY),
    (sql, _LOOK),
    (status, _LOOK),
    (top, _LOOK),
    (whatif, _LOOK),
    (worker, _RUN),
    (sink, _RUN),
    (notifier, _RUN),
    (exporter, _RUN),
    (doctor, _OPERATE),
    (migrate, _OPERATE),
    (rebuild, _OPERATE),
    (retention, _OPERATE),
    (roles, _OPERATE),
    (schema, _OPERATE),
    (verify, _OPERATE),
    (erase, _OPERATE),
    (version, _OPERATE),
):
    app.command(_command, group=_group, sort_key=len(list(app)))
_alerts = App(name="alerts", help="Watch the alerts, take care of them, silence them.", group=_LOOK)
_alerts.command(list_alerts, name="list")
_alerts.command(show_alert, name="show")
_alerts.command(tail)
_alerts.command(silence)
_alerts.command(ack)
_alerts.command(runbook)
app.command(_alerts)
_rules = App(
    name="rules",
    help="Try alert rules before they wake somebody up, and give them to every worker.",
    group=_OPERATE,
)
_rules.command(check)
_rules.command(test)
_rules.command(backtest)
_rules.command(push)
_rules.command(withdraw)
_rules.command(versions)
app.command(_rules)
_report = App(name="report", help="Figures for people.", group=_LOOK)
_report.command(summary)
app.command(_report)
_prices = App(
    name="prices", help="What a token costs, and which models have no price.", group=_OPERATE
)
_prices.command(import_prices, name="import")
_prices.command(list_prices, name="list")
_prices.command(missing_prices, name="missing")
app.command(_prices)
_dead = App(
    name="dead", help="What could not be used, why, and back with it when mended.", group=_OPERATE
)
_dead.command(list_letters, name="list")
_dead.command(show)
_dead.command(requeue)
app.command(_dead)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns the exit code. Expected trouble is told in a sentence."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return _USAGE_ERROR  # cyclopts has printed it
    except UserError as error:
        errors.print(f"[red]backchannel:[/red] {_escaped(str(error))}")
        return error.exit_code
    except ModuleNotFoundError as error:
        errors.print(_escaped(missing_extra(error)))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return 1
    return result if isinstance(result, int) else 0


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _forget_stdout() -> None:
    """The reader of our output has gone (`… | head`): flushing at exit would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
