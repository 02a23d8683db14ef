"""What Roamify's API is: values and rows, one room a subject."""
