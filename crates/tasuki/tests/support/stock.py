"""The other end of an interop test: an echo over a stock connection, as a listener or as a client.

    stock.py listen|connect FAMILY ADDRESS KEY

ADDRESS is host:port, a path, or @name for an abstract one; KEY is hexadecimal, or - for none. A listener prints where it
listens. Then one line says how the connection was made: "connected", or the exception's class. Messages are sent back
reversed until the peer closes; the last line says how that ended.
"""

import os
import sys
import threading
from multiprocessing.connection import Client, Listener


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


def main(role, family, address, key):
    threading.Thread(target=end_with_the_test, daemon=True).start()
    if family == "AF_INET":
        host, port = address.rsplit(":", 1)
        address = (host, int(port))
    elif address.startswith("@"):
        address = "\0" + address[1:]
    key = None if key == "-" else bytes.fromhex(key)
    try:
        if role == "listen":
            with Listener(address, family, authkey=key) as listener:
                port = listener.address[1] if family == "AF_INET" else 0
                print(port, flush=True)
                connection = listener.accept()
        else:
            connection = Client(address, family, authkey=key)
    except Exception as failure:
        print(type(failure).__name__, flush=True)
        return
    print("connected", flush=True)
    with connection:
        try:
            while True:
                connection.send_bytes(connection.recv_bytes()[::-1])
        except Exception as ended:
            print(type(ended).__name__, flush=True)


main(*sys.argv[1:])
