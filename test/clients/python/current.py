"""Google's present client for Python against the emulator: python3 current.py HOST:PORT TARGET. Prints the steps that went well."""
import datetime
import sys

import grpc
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2, tasks_v2beta3
from google.iam.v1 import iam_policy_pb2
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

address, target = sys.argv[1:]
PARENT = "projects/demo/locations/us-central1"


class Recorder:
    """A client that remembers which of its methods were called."""

    def __init__(self, client):
        self.client = client
        self.called = set()

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.client, name)

    def left_out(self):
        """What the service has, by the names of its transport, and was not called."""
        transport = type(self.client).get_transport_class("grpc").__mro__[1]
        methods = {name for name, value in vars(transport).items() if isinstance(value, property)} - {"host", "kind", "operations_client"}
        # Operations of batches come from an emulator that ends them at once, so only reading them has a meaning.
        methods -= {"list_operations", "cancel_operation", "delete_operation", "wait_operation"}
        return methods - self.called


def refused(expected, call, **request):
    try:
        call(request=request)
    except expected:
        return
    raise AssertionError(f"{call.__name__} was not refused with {expected.__name__}")


def seconds_ahead(seconds):
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds))
    return at


def check(name, tasks, client):
    queue = f"{PARENT}/queues/python-{name}"
    queues(tasks, client, queue)
    print(f"{name}: queues", flush=True)
    target_of_queue(tasks, client, queue)
    print(f"{name}: HTTP target of a queue, and retry settings of a task", flush=True)
    single_tasks(tasks, client, queue, name)
    print(f"{name}: tasks", flush=True)
    batches(tasks, client, queue)
    print(f"{name}: batches and their operations", flush=True)
    policies_and_locations(tasks, client, queue)
    print(f"{name}: policies, locations, customer-managed keys", flush=True)

    assert client.resume_queue(name=queue).state == tasks.Queue.State.RUNNING
    assert client.purge_queue(name=queue).purge_time is not None
    client.delete_queue(name=queue)
    refused(exceptions.NotFound, client.get_queue, name=queue)
    print(f"{name}: purge and delete", flush=True)
    assert client.left_out() == set(), f"not called: {client.left_out()}"
    print(f"{name}: every method was called", flush=True)


def queues(tasks, client, queue):
    created = client.create_queue(parent=PARENT, queue=tasks.Queue(name=queue, retry_config=tasks.RetryConfig(min_backoff=duration_pb2.Duration(nanos=500_000_000))))
    assert created.state == tasks.Queue.State.RUNNING, created
    refused(exceptions.Conflict, client.create_queue, parent=PARENT, queue={"name": queue})
    assert client.get_queue(name=queue).retry_config.min_backoff == datetime.timedelta(milliseconds=500)
    assert [one.name for one in client.list_queues(parent=PARENT)].count(queue) == 1
    assert [one.name for one in client.list_queues(request={"parent": PARENT, "filter": f'name="{queue}"'})] == [queue]
    mask = field_mask_pb2.FieldMask(paths=["retry_config.max_attempts"])
    updated = client.update_queue(queue=tasks.Queue(name=queue, retry_config=tasks.RetryConfig(max_attempts=7)), update_mask=mask)
    assert updated.retry_config.max_attempts == 7 and updated.retry_config.min_backoff == datetime.timedelta(milliseconds=500), updated
    assert client.pause_queue(name=queue).state == tasks.Queue.State.PAUSED


def target_of_queue(tasks, client, queue):
    override = tasks.UriOverride(scheme=tasks.UriOverride.Scheme.HTTP, host="other.example", path_override=tasks.PathOverride(path="/hook"))
    mask = field_mask_pb2.FieldMask(paths=["http_target"])
    updated = client.update_queue(queue=tasks.Queue(name=queue, http_target=tasks.HttpTarget(uri_override=override, http_method=tasks.HttpMethod.PUT)), update_mask=mask)
    assert updated.http_target.uri_override.host == "other.example", updated
    task = tasks.Task(http_request=tasks.HttpRequest(), retry_config=tasks.RetryConfig(max_attempts=3))
    stored = client.create_task(parent=queue, task=task)
    assert stored.http_request.url == "http://other.example/hook" and stored.retry_config.max_attempts == 3, stored
    client.delete_task(name=stored.name)
    assert "http_target" not in client.update_queue(queue=tasks.Queue(name=queue), update_mask=mask)


def single_tasks(tasks, client, queue, name):
    task = tasks.Task(name=f"{queue}/tasks/run", http_request=tasks.HttpRequest(url=f"{target}/python/{name}", body=b"hello", headers={"Content-Type": "text/plain"}))
    stored = client.create_task(parent=queue, task=task)
    assert stored.http_request.http_method == tasks.HttpMethod.POST and stored.http_request.body == b"", stored
    refused(exceptions.Conflict, client.create_task, parent=queue, task=task)
    client.create_task(parent=queue, task=tasks.Task(name=f"{queue}/tasks/later", schedule_time=seconds_ahead(3600), http_request=tasks.HttpRequest(url=target)))
    assert sorted(one.name for one in client.list_tasks(parent=queue)) == [f"{queue}/tasks/later", f"{queue}/tasks/run"]
    full = client.get_task(request={"name": task.name, "response_view": tasks.Task.View.FULL})
    assert full.http_request.body == b"hello", full
    client.delete_task(name=f"{queue}/tasks/later")
    refused(exceptions.NotFound, client.get_task, name=f"{queue}/tasks/later")
    assert client.run_task(name=task.name).dispatch_count == 1
    refused(exceptions.BadRequest, client.create_task, parent=queue, task={"name": f"{queue}/tasks/empty"})


def batches(tasks, client, queue):
    request = lambda task_id: tasks.CreateTaskRequest(parent=queue, task=tasks.Task(name=f"{queue}/tasks/{task_id}" if task_id else "", http_request=tasks.HttpRequest(url=target)))
    created = client.batch_create_tasks(request={"parent": queue, "requests": [request("a"), request("")]})
    assert [one.name for one in created.result().tasks][0] == f"{queue}/tasks/a"
    assert created.metadata.state == tasks.BatchCreateTasksMetadata.State.SUCCEEDED, created.metadata
    refused(exceptions.Conflict, client.batch_create_tasks, parent=queue, requests=[request("a"), request("b")])
    deleted = client.batch_delete_tasks(request={"parent": queue, "names": [f"{queue}/tasks/{task_id}" for task_id in "ab"]})
    deleted.result()
    assert deleted.metadata.state == tasks.BatchDeleteTasksMetadata.State.SUCCEEDED, deleted.metadata
    again = client.get_operation({"name": deleted.operation.name})
    assert again.done and again.name == deleted.operation.name, again


def policies_and_locations(tasks, client, queue):
    client.set_iam_policy(request={"resource": queue, "policy": {"bindings": [{"role": "roles/viewer", "members": ["user:ada@example.com"]}]}})
    assert client.get_iam_policy(request={"resource": queue}).bindings[0].role == "roles/viewer"
    allowed = client.test_iam_permissions(request=iam_policy_pb2.TestIamPermissionsRequest(resource=queue, permissions=["cloudtasks.tasks.create"]))
    assert list(allowed.permissions) == ["cloudtasks.tasks.create"], allowed
    assert PARENT in [one.name for one in client.list_locations({"name": "projects/demo"}).locations]
    assert client.get_location({"name": PARENT}).location_id == "us-central1"
    config = tasks.CmekConfig(name=f"{PARENT}/cmekConfig", kms_key=f"{PARENT}/keyRings/r/cryptoKeys/k")
    mask = field_mask_pb2.FieldMask(paths=["kms_key"])
    assert client.update_cmek_config(cmek_config=config, update_mask=mask).kms_key == config.kms_key
    assert client.get_cmek_config(name=config.name).kms_key == config.kms_key
    client.update_cmek_config(cmek_config=tasks.CmekConfig(name=config.name), update_mask=mask)
    assert client.get_cmek_config(name=config.name).kms_key == ""


for version, tasks in (("v2", tasks_v2), ("v2beta3", tasks_v2beta3)):
    transport = tasks.CloudTasksClient.get_transport_class
    over_grpc = tasks.CloudTasksClient(transport=transport("grpc")(channel=grpc.insecure_channel(address)))
    check(f"{version}-grpc", tasks, Recorder(over_grpc))
    over_rest = tasks.CloudTasksClient(transport=transport("rest")(host=address, url_scheme="http", credentials=AnonymousCredentials()))
    check(f"{version}-rest", tasks, Recorder(over_rest))
