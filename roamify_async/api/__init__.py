"""The endpoints of Roamify's API: one resource class per module."""
