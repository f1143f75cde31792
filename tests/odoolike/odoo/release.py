import os

version_info = (int(os.environ.get("ODOOLIKE", "19")), 0, 0, "final", 0, "")
version = f"{version_info[0]}.0"
