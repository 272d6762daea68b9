"""Extensions: found in folders, loaded by path, called through one immutable set of hooks."""
