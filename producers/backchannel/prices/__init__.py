"""What tokens cost, in whole picodollars: the same in a bot, on the command line and in SQL.

Pure: no network, no thread, no clock. ``PriceBook`` finds the rates of a model at an instant,
``cost`` applies them.
"""

from backchannel.prices.book import PriceBook
from backchannel.prices.own import own_rates
from backchannel.prices.rates import Cost, Rates, Step, Unit, cost

__all__ = ["Cost", "PriceBook", "Rates", "Step", "Unit", "cost", "own_rates"]
