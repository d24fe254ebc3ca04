"""Faults on purpose, under load: ``make faults-stream`` and ``make faults-sink``."""
