"""From an event that is offered to a batch that Kafka acknowledged.

In the order of the data's way: ``intake`` numbers lines and bounds them, all that a bot's code
waits for; ``thread`` runs the ``sender``, which deals the lines into a ``lane`` for each partition,
seals batches, and hands them to a ``transport`` (``kafka``, ``jsonl``, ``memory``). What memory
can't hold goes over ``overflow`` to the ``spool`` on disk. ``heartbeat`` and ``stats`` tell what
became of everything.
"""
