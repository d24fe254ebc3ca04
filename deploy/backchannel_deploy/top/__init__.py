"""``backchannel top``: the pipeline as it is now, on one screen."""
