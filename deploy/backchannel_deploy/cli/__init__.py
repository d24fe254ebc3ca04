"""The command line: one file a command; each imports what is heavy when it is called."""
