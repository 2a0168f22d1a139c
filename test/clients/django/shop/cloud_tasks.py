import json
import os

import grpc
from google.cloud import tasks_v2
from google.protobuf import timestamp_pb2


class CloudTasksMixin:
    """Lets a view send tasks to handlers of the same App Engine app. Works with google-cloud-tasks 1.5 and 2."""

    def send_task(self, url, queue="default", method="POST", payload=None, schedule_time=None, name=None):
        """Adds a task to a queue and returns its name.

        url: path of the handler, such as "/tasks/receipt/"
        payload: anything that JSON can express; sent as the body
        schedule_time: a datetime with a time zone; not before then
        name: refuses a second task of this name (google.api_core.exceptions.AlreadyExists)
        """
        client = cloud_tasks_client()
        parent = client.queue_path(os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["CLOUD_TASKS_LOCATION"], queue)
        task = {"app_engine_http_request": {"http_method": method, "relative_uri": url}}
        if payload is not None:
            task["app_engine_http_request"]["headers"] = {"Content-Type": "application/json"}
            task["app_engine_http_request"]["body"] = json.dumps(payload).encode()
        if schedule_time is not None:
            task["schedule_time"] = timestamp_pb2.Timestamp()
            task["schedule_time"].FromDatetime(schedule_time)
        if name is not None:
            task["name"] = parent + "/tasks/" + name
        return client.create_task(parent=parent, task=task).name


def cloud_tasks_client():
    """Google's client, or with CLOUD_TASKS_EMULATOR_HOST=HOST:PORT one for the emulator, which needs no credentials."""
    emulator = os.environ.get("CLOUD_TASKS_EMULATOR_HOST")
    if not emulator:
        return tasks_v2.CloudTasksClient()
    channel = grpc.insecure_channel(emulator)
    if not hasattr(tasks_v2.CloudTasksClient, "get_transport_class"):  # before 2.0
        return tasks_v2.CloudTasksClient(channel=channel)
    transport = tasks_v2.CloudTasksClient.get_transport_class("grpc")
    return tasks_v2.CloudTasksClient(transport=transport(channel=channel))
