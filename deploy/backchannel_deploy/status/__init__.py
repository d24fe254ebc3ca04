"""How the running pipeline is: who is behind, how fresh its tables are, what is lost or fires."""

from backchannel_deploy.status.ask import ask
from backchannel_deploy.status.state import Agent, Alert, Freshness, Reader, Status, judge

__all__ = ["Agent", "Alert", "Freshness", "Reader", "Status", "ask", "judge"]
