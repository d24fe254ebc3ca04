"""What is configured, from where, what of it can be reached, and what to do about the rest."""

from backchannel_deploy.doctor.examine import Examination, examine
from backchannel_deploy.doctor.finding import Finding, Verdict
from backchannel_deploy.doctor.report import as_json, print_report

__all__ = ["Examination", "Finding", "Verdict", "as_json", "examine", "print_report"]
