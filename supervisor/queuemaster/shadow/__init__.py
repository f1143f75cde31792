"""``run --shadow``: compares what the addon's own runner does with what we would do. Nothing is written anywhere.

``compare``     snapshots of the queues → where the runner decided otherwise. Pure
``statements``  the SQL
``watch``       takes the snapshots in read-only sessions, and reports
"""
