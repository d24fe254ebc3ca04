"""Forgets somebody: everywhere, for good, and with a proof.

    ask      a record on chat.control: sinks leave out from now on what they read of the subject
    wait     until everything that Kafka had by then is stored
    keep     what the rows come to, by window, and where they stood: sums and numbers still add up
    delete   from every table, the parts on the disk rewritten
    prove    read with the deleted mask off; a completion record, signed

Every step may be repeated and is noted when it is done, so an erasure that was killed goes on.
"""
