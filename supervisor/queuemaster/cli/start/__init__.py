"""The steps of ``run`` before it becomes the master."""
