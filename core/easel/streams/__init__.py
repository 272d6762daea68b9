"""EAS streams: the input and the sink of an asynchronous service, who takes items from them, and where they are kept."""
