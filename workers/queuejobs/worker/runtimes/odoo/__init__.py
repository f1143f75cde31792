"""Jobs of Odoo's addon queue_job: run in process, directly or by the addon's own code."""
