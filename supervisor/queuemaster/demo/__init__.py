"""The main job on a sample application."""
