"""A stand-in for the part of Odoo that running a job needs, for tests on machines without Odoo.

Written from the known behaviour of Odoo and the addon, on the tables that tests/support/ocaqueue.py creates. The
environment variable ODOOLIKE selects the version to imitate.
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
