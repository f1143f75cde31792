"""Overrides the ``write`` of jobs, as queue_job_batch does. Each call leaves a row."""

from odoo import fields, models


class Witnessed(models.Model):
    _name = "queuemaster.witnessed"
    _description = "A write of a job that was seen"

    job_uuid = fields.Char()
    state = fields.Char()


class QueueJob(models.Model):
    _inherit = "queue.job"

    def write(self, vals):
        result = super().write(vals)
        for record in self:
            self.env["queuemaster.witnessed"].sudo().create(
                {"job_uuid": record.uuid, "state": vals.get("state")}
            )
        return result
