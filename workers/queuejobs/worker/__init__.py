"""What runs in the template and in the workers."""
