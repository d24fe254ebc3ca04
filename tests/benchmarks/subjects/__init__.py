"""What is measured in a bot, each subject a process of its own: ours, its peers, and nothing.

`pace` and the peers run in the peers' environment, so they import the standard library and the
peer alone.
"""
