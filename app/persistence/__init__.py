"""All SQL of the service: models, sessions and the stores that `alerts` declares."""
