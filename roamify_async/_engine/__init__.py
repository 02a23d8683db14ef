"""How a row becomes bytes and an answer becomes a value."""
