"""The values that requests and responses are made of. They do no I/O and import no HTTP library."""
