"""How an endpoint becomes a call: engine, retries, limits, pagination, and the modes of both clients."""
