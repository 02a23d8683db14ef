"""Values of requests and responses. They do no I/O and import no HTTP library."""
