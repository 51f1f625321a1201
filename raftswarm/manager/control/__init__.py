"""What users ask for: requests, their checks, their effects on the store."""
