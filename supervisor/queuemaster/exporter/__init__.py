"""What the outside world may ask: metrics and health, by HTTP. Nothing depends on it."""
