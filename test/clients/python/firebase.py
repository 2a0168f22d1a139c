"""firebase-admin for Python against the emulator: CLOUD_TASKS_EMULATOR_HOST=HOST:PORT python3 firebase.py HOST:PORT TARGET."""
import datetime
import os
import sys

import firebase_admin
from firebase_admin import exceptions, functions

address, target = sys.argv[1:]
assert os.environ["CLOUD_TASKS_EMULATOR_HOST"] == address
queue = functions.task_queue("locations/us-central1/functions/python-firebase", app=firebase_admin.initialize_app(options={"projectId": "demo"}))

generated = queue.enqueue({"order": 42}, functions.TaskOptions(uri=f"{target}/firebase/generated"))
assert generated.isdigit(), generated
assert queue.enqueue({"order": 43}, functions.TaskOptions(task_id="order-43", schedule_delay_seconds=0, headers={"X-Mine": "yes"}, uri=f"{target}/firebase/python")) == "order-43"
print("enqueue: the id is read from the answer", flush=True)

later = functions.TaskOptions(task_id="later", schedule_time=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1), dispatch_deadline_seconds=60)
assert queue.enqueue({}, later) == "later"
try:
    queue.enqueue({}, later)
except exceptions.AlreadyExistsError:
    pass
else:
    raise AssertionError("an id was taken twice")
print("enqueue: an id that exists is refused", flush=True)

queue.delete("later")
try:
    queue.delete("later")
except exceptions.NotFoundError:
    pass
else:
    raise AssertionError("a task that is gone was deleted")
print("delete: once", flush=True)
