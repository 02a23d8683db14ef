"""How an endpoint becomes a call: the engine, its retries, its limits, pagination, and both clients' modes."""
