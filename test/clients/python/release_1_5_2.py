"""google-cloud-tasks 1.5.2, the last release for Python 2 and 3.5, against the emulator: python3 release_1_5_2.py HOST:PORT TARGET.

It has gRPC only. Prints the steps that went well.
"""
import datetime
import sys

import grpc
from google.api_core import exceptions
from google.cloud import tasks_v2, tasks_v2beta3
from google.cloud.tasks_v2.gapic.transports import cloud_tasks_grpc_transport as v2_transport
from google.cloud.tasks_v2beta3.gapic.transports import cloud_tasks_grpc_transport as v2beta3_transport
from google.protobuf import timestamp_pb2

address, target = sys.argv[1:]
HELPERS = {"enums", "from_service_account_file", "from_service_account_json", "location_path", "queue_path", "task_path", "SERVICE_ADDRESS"}


class Recorder:
    """A client that remembers which of its methods were called."""

    def __init__(self, client):
        self.client = client
        self.called = set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)

    def left_out(self):
        return {name for name in dir(self.client) if not name.startswith("_")} - {"transport"} - HELPERS - self.called


def refused(expected, call, *arguments):
    try:
        call(*arguments)
    except expected:
        return
    raise AssertionError(f"{call.__name__} was not refused with {expected.__name__}")


def check(version, tasks, client):
    name = f"1.5.2-{version}"
    parent = client.location_path("demo", "us-central1")
    queue = client.queue_path("demo", "us-central1", f"python-{name.replace('.', '-')}")
    run, later = [client.task_path("demo", "us-central1", queue.split("/")[-1], task) for task in ("run", "later")]
    states = tasks.enums.Queue.State

    assert client.create_queue(parent, {"name": queue, "retry_config": {"min_backoff": {"nanos": 500000000}}}).state == states.RUNNING
    refused(exceptions.AlreadyExists, client.create_queue, parent, {"name": queue})
    assert client.get_queue(queue).retry_config.min_backoff.nanos == 500000000
    assert [one.name for one in client.list_queues(parent)].count(queue) == 1
    updated = client.update_queue({"name": queue, "retry_config": {"max_attempts": 7}}, {"paths": ["retry_config.max_attempts"]})
    assert updated.retry_config.max_attempts == 7 and updated.retry_config.min_backoff.nanos == 500000000, updated
    assert client.pause_queue(queue).state == states.PAUSED
    print(f"{name}: queues", flush=True)

    task = {"name": run, "http_request": {"http_method": tasks.enums.HttpMethod.POST, "url": f"{target}/python/{name}", "body": b"hello"}}
    assert client.create_task(queue, task).http_request.body == b""
    refused(exceptions.AlreadyExists, client.create_task, queue, task)
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(datetime.datetime.utcnow() + datetime.timedelta(hours=1))
    client.create_task(queue, {"name": later, "schedule_time": at, "http_request": {"url": target}})
    assert sorted(one.name for one in client.list_tasks(queue)) == [later, run]
    assert client.get_task(run, response_view=tasks.enums.Task.View.FULL).http_request.body == b"hello"
    client.delete_task(later)
    refused(exceptions.NotFound, client.get_task, later)
    assert client.run_task(run).dispatch_count == 1
    print(f"{name}: tasks", flush=True)

    client.set_iam_policy(queue, {"bindings": [{"role": "roles/viewer", "members": ["user:ada@example.com"]}]})
    assert client.get_iam_policy(queue).bindings[0].role == "roles/viewer"
    assert list(client.test_iam_permissions(queue, ["cloudtasks.tasks.create"]).permissions) == ["cloudtasks.tasks.create"]
    assert client.resume_queue(queue).state == states.RUNNING
    assert client.purge_queue(queue).purge_time.seconds > 0
    client.delete_queue(queue)
    refused(exceptions.NotFound, client.get_queue, queue)
    print(f"{name}: policies, purge and delete", flush=True)
    assert client.left_out() == set(), f"not called: {client.left_out()}"
    print(f"{name}: every method was called", flush=True)


for version, tasks, transport in (("v2", tasks_v2, v2_transport), ("v2beta3", tasks_v2beta3, v2beta3_transport)):
    channel = grpc.insecure_channel(address)
    check(version, tasks, Recorder(tasks.CloudTasksClient(transport=transport.CloudTasksGrpcTransport(channel=channel))))
