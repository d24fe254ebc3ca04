"""Dead letters: found, mended, sent back to the topic they came from."""
