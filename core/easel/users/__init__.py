"""Users of the cluster edition: who there is, how they show it, what is theirs, how much they may take."""
