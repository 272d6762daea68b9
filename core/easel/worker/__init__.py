"""The worker: a child process with one engine, what it is told, what it tells, and who looks after it."""
