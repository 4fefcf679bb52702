"""What an operator sees of a running service: metrics for Prometheus and structured logs."""
