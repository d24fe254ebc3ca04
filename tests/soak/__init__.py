"""A producer under load for as long as one likes, while the broker goes away at random."""
