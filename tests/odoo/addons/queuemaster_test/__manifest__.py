{
    "name": "Queuemaster: jobs for its tests",
    "version": "1.0",
    "license": "LGPL-3",
    "depends": ["queue_job"],
    "data": ["security/ir.model.access.csv", "data/job_functions.xml"],
    "installable": True,
}
