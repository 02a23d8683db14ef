"""What the server sells: destinations, packages, insurance, devices and currencies."""
