"""The application of a pod, run by inside_pod.py. It knows no retry, works from its first moment on, and for two seconds after
SIGTERM, in which it opens connections and finishes a transaction. Its status is 1 when it met any error. With the word `once` it
is a job that asks one query and ends with $STATUS."""

import os
import signal
import sys
import threading
import urllib.parse

from running import Naive, log_in
from harness import same

WINDS_DOWN = 2

place = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())

if sys.argv[1:] == ["once"]:
    client = log_in(place.port, host=place.hostname)
    same(client.value("SELECT 7"), "7")
    client.close()
    sys.exit(int(os.environ["STATUS"]))

last = log_in(place.port, host=place.hostname)
last.query("BEGIN")
crowd = [Naive(place.port, pause=0.01, host=place.hostname) for _ in range(8)]
for each in crowd:
    each.start()
print("works", flush=True)
told.wait()
threading.Event().wait(WINDS_DOWN)
errors, served = Naive.finish(crowd)
same(last.value("SELECT 7"), "7")
last.query("COMMIT")
last.close()
print(f"{served} statements, errors: {errors}", flush=True)
sys.exit(1 if errors or not served else 0)
