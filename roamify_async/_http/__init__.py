"""HTTP: messages as values, the transport, credentials, and the capture of responses."""
