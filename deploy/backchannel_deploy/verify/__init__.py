"""Does what is stored agree? Windows with the events they were made of, offsets with the log.

events ──▶ recount ──▶ compare ◀── metric_windows
                          │
                          ├─▶ a verdict on each part, for a person
                          └─▶ repair: windows anew on chat.metrics, lost records into events
"""
