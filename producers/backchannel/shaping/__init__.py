"""What is done to an event before it is taken in: encoded, stamped, repaired, masked, sampled."""
