"""How the server fails on demand."""
