"""``run --shadow``: what we would do beside what the addon's own runner does. Nothing is written anywhere.

``compare``  two looks at the queues → where the runner did otherwise. Pure
``watch``    the looks, from read-only sessions, and the report
"""
