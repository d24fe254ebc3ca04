"""What a role of the pipeline follows while it runs: a file of its own, and ``chat.control``."""
