"""Google's client for Python against the emulator: python3 client.py HOST:PORT TARGET. Prints the steps that went well."""
import datetime
import sys

import grpc
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport, CloudTasksRestTransport
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

address, target = sys.argv[1:]
PARENT = "projects/demo/locations/us-central1"


def refused(expected, call, **request):
    try:
        call(request=request)
    except expected:
        return
    raise AssertionError(f"{call.__name__} was not refused with {expected.__name__}")


def check(name, client):
    queue = f"{PARENT}/queues/python-{name}"
    created = client.create_queue(parent=PARENT, queue=tasks_v2.Queue(name=queue, retry_config=tasks_v2.RetryConfig(min_backoff=duration_pb2.Duration(nanos=500_000_000))))
    assert created.state == tasks_v2.Queue.State.RUNNING, created
    refused(exceptions.Conflict, client.create_queue, parent=PARENT, queue={"name": queue})
    assert client.get_queue(name=queue).retry_config.min_backoff == datetime.timedelta(milliseconds=500)
    assert [one.name for one in client.list_queues(parent=PARENT)].count(queue) == 1
    updated = client.update_queue(queue=tasks_v2.Queue(name=queue, retry_config=tasks_v2.RetryConfig(max_attempts=7)), update_mask=field_mask_pb2.FieldMask(paths=["retry_config.max_attempts"]))
    assert updated.retry_config.max_attempts == 7 and updated.retry_config.min_backoff == datetime.timedelta(milliseconds=500), updated
    assert client.pause_queue(name=queue).state == tasks_v2.Queue.State.PAUSED
    print(f"{name}: queues", flush=True)

    task = tasks_v2.Task(name=f"{queue}/tasks/run", http_request=tasks_v2.HttpRequest(url=f"{target}/python/{name}", body=b"hello", headers={"Content-Type": "text/plain"}))
    stored = client.create_task(parent=queue, task=task)
    assert stored.http_request.http_method == tasks_v2.HttpMethod.POST and stored.http_request.body == b"", stored
    refused(exceptions.Conflict, client.create_task, parent=queue, task=task)
    later = timestamp_pb2.Timestamp()
    later.FromDatetime(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1))
    client.create_task(parent=queue, task=tasks_v2.Task(name=f"{queue}/tasks/later", schedule_time=later, http_request=tasks_v2.HttpRequest(url=target)))
    assert sorted(one.name for one in client.list_tasks(parent=queue)) == [f"{queue}/tasks/later", f"{queue}/tasks/run"]
    full = client.get_task(request={"name": task.name, "response_view": tasks_v2.Task.View.FULL})
    assert full.http_request.body == b"hello", full
    client.delete_task(name=f"{queue}/tasks/later")
    refused(exceptions.NotFound, client.get_task, name=f"{queue}/tasks/later")
    assert client.run_task(name=task.name).dispatch_count == 1
    refused(exceptions.BadRequest, client.create_task, parent=queue, task={"name": task.name})
    print(f"{name}: tasks", flush=True)

    client.set_iam_policy(request={"resource": queue, "policy": {"bindings": [{"role": "roles/viewer", "members": ["user:ada@example.com"]}]}})
    assert client.get_iam_policy(request={"resource": queue}).bindings[0].role == "roles/viewer"
    assert client.resume_queue(name=queue).state == tasks_v2.Queue.State.RUNNING
    assert client.purge_queue(name=queue).purge_time is not None
    client.delete_queue(name=queue)
    refused(exceptions.NotFound, client.get_queue, name=queue)
    print(f"{name}: policies, purge and delete", flush=True)


check("grpc", tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=grpc.insecure_channel(address))))
check("rest", tasks_v2.CloudTasksClient(transport=CloudTasksRestTransport(host=address, url_scheme="http", credentials=AnonymousCredentials())))
