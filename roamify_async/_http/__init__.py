"""HTTP: messages as values, the transport that sends them, and the credentials they carry."""
