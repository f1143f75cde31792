"""What the service is told: the compiled settings and where they come from."""
