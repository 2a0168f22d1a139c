"""The calls that Google's published samples for Python make: python3 samples.py HOST:PORT TARGET. Prints the steps that went well.

They are made with the same arguments in the same forms; only endpoint and credentials differ.
"""
import datetime
import json
import sys
import urllib.parse

import grpc
import requests
from google.cloud import tasks_v2, tasks_v2beta3
from google.protobuf import duration_pb2, timestamp_pb2

address, target = sys.argv[1:]
PROJECT, LOCATION = "demo", "us-central1"


def client_of(tasks):
    transport = tasks.CloudTasksClient.get_transport_class("grpc")
    return tasks.CloudTasksClient(transport=transport(channel=grpc.insecure_channel(address)))


def snippets():
    client = client_of(tasks_v2)
    queue = client.queue_path(PROJECT, LOCATION, "python-samples")
    created = client.create_queue(tasks_v2.CreateQueueRequest(parent=client.common_location_path(PROJECT, LOCATION), queue=tasks_v2.Queue(name=queue)))
    assert created.name == queue, created
    listed = client.list_queues(tasks_v2.ListQueuesRequest(parent=client.common_location_path(PROJECT, LOCATION)))
    assert queue in [one.name for one in listed]
    print("create_queue, list_queues", flush=True)

    schedule = timestamp_pb2.Timestamp()
    schedule.FromDatetime(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=0))
    deadline = duration_pb2.Duration()
    deadline.FromSeconds(900)
    task = {
        "http_request": {
            "http_method": tasks_v2.HttpMethod.POST,
            "url": f"{target}/python/sample",
            "headers": {"Content-type": "application/json"},
            "body": json.dumps({"param": "value"}).encode(),
        },
        "schedule_time": schedule,
        "name": client.task_path(PROJECT, LOCATION, "python-samples", "my-unique-task"),
        "dispatch_deadline": deadline,
    }
    response = client.create_task(request={"parent": queue, "task": task})
    assert response.dispatch_deadline == datetime.timedelta(seconds=900), response
    token = tasks_v2.OidcToken(service_account_email="client@demo.iam.gserviceaccount.com", audience="https://example.com")
    request = tasks_v2.HttpRequest(http_method=tasks_v2.HttpMethod.POST, url=f"{target}/python/token", oidc_token=token, body=b"hello")
    response = client.create_task(tasks_v2.CreateTaskRequest(parent=queue, task=tasks_v2.Task(http_request=request)))
    assert response.http_request.oidc_token == token, response
    print("create_http_task, create_http_task_with_token", flush=True)

    client.delete_queue(request={"name": queue})
    print("delete_queue", flush=True)


def http_queues():
    tasks = tasks_v2beta3
    client = client_of(tasks)
    uri = urllib.parse.urlparse(f"{target}/python/http-queue?a=b")
    override = {
        "host": uri.hostname,
        "uri_override_enforce_mode": 2,
        "scheme": 1,
        "port": f"{uri.port}",
        "path_override": {"path": uri.path},
        "query_override": {"query_params": uri.query},
    }
    name = f"projects/{PROJECT}/locations/{LOCATION}/queues/python-http-queue"
    queue = client.create_queue(tasks.CreateQueueRequest(parent=client.common_location_path(PROJECT, LOCATION), queue={"name": name, "http_target": {"uri_override": override}}))
    assert client.get_queue(name=name).http_target.uri_override.port == uri.port
    queue.http_target = {"uri_override": override}
    queue.rate_limits.max_dispatches_per_second = 100.0
    queue.rate_limits.max_burst_size = 20
    queue.retry_config.max_attempts = 5
    updated = client.update_queue(tasks.UpdateQueueRequest(queue=queue, update_mask={"paths": ["http_target", "rate_limits", "retry_config"]}))
    assert updated.rate_limits.max_burst_size == 20, updated
    print("create_http_queue, get_http_queue, update_http_queue", flush=True)

    endpoint = f"http://{address}/v2beta3/{queue.name}/tasks:buffer"
    assert requests.post(endpoint, "any payload", headers={"Authorization": "Bearer token"}, timeout=30).status_code == 200
    client.delete_queue(name=queue.name)
    print("send_task_to_http_queue, delete_http_queue", flush=True)


snippets()
http_queues()
