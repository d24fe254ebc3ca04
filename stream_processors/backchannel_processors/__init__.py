"""The stream processors: windows, merge and alerts. A pure core in a thin Faust shell."""
