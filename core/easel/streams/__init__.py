"""EAS streams: the input and the sink of an asynchronous service, who takes items from them, where they are kept."""
