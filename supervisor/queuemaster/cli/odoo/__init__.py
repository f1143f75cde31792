"""Checks of an Odoo installation and its databases, and our indexes there."""
