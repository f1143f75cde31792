{
    "name": "Queuemaster: who looks on when a job is written",
    "version": "1.0",
    "license": "LGPL-3",
    "depends": ["queuemaster_test"],
    "installable": True,
}
