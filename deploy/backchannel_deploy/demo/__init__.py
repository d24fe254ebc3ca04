"""The demo: the whole stack, a simulated fleet of bots, a live view, and answers that add up."""
