"""Run jobs of Odoo's addon queue_job in the worker's process, directly or through the addon's own code."""
