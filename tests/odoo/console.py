"""Odoo's side of a test: code on standard input runs in Odoo's interpreter, as ``odoo-bin shell`` would run it.

One JSON object a line comes in: ``database``, ``uid``, ``code``; one goes out: ``result``, what the code left in that
name, or ``error``. ``code`` empty: the database is forgotten.
"""

import json
import sys
import traceback

from queuejobs.worker.runtimes.odoo import process


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # Odoo's prints must not mix with the answers
    process.configure(sys.argv[1], sys.argv[2])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": run(**request)}
        except Exception:  # the test shows the traceback
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()


def run(database, uid, code):
    if not code:
        process.module("odoo.modules.registry").Registry.delete(database)
        process.module("odoo.sql_db").close_all()
        return None
    registry = process.registry(database).check_signaling()
    names = {"result": None}
    with registry.cursor() as cursor:
        names["env"] = process.module("odoo.api").Environment(cursor, uid, {})
        exec(code, names)
    registry.signal_changes()
    return names["result"]


main()
