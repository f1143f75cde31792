"""The schema in the database, and every statement of this package."""
