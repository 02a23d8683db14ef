"""Making sure that a purchase exists, once; it knows no room of the API."""
