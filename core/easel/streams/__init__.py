"""EAS streams: the input and the sink of an asynchronous service, who takes items, and where they are kept."""
