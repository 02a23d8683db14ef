"""How a test inspects and steers the server."""
