"""As much of Odoo as running a job needs, for tests on machines without Odoo.

Written from what is known of Odoo's and the addon's behaviour, on the tables that tests/support/ocaqueue.py makes. The
environment variable ODOOLIKE says which version to be.
"""

import os
import time

os.environ["TZ"] = "UTC"  # as Odoo does
time.tzset()

from . import api, http, models, modules, release, service, sql_db, tools

SUPERUSER_ID = 1


def registry(database):
    """As up to Odoo 18."""
    return modules.registry.Registry(database)
