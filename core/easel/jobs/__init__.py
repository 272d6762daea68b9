"""Jobs in the gateway: the fair queue, their states, and who waits for them."""
