"""What ``run`` does before it becomes the master."""
