"""`helm test`: is the interchange there for a client, and, if a pool is named, does a task run?

Arguments: pool ('' for none), seconds. Reads the client's Secret below /client.
"""

import sys
from pathlib import Path

from blockyard import Client

pool, seconds = sys.argv[1], float(sys.argv[2])
secret = Path("/client")
endpoint, server_key = ((secret / name).read_text().strip() for name in ("endpoint", "server_key"))
with Client.connect(endpoint, server_key=server_key, client_key=secret / "client.key") as client:
    print(f"{endpoint}: welcomed")
    if pool:
        answer = client.options(pool=pool).submit(pow, 2, 10).result(timeout=seconds)
        print(f"a task in {pool} answered {answer}")
