"""What each endpoint does, one module a subject."""
