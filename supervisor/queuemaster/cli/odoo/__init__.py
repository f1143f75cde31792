"""What the command line asks an Odoo installation and its databases."""
