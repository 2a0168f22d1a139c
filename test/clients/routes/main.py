"""Runs the sample of docs/other-languages.md, which lies beside it as sample.py: ORIGIN ACCOUNT QUEUE KEY HOST:PORT."""
import sys

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

import sample

sample.ORIGIN, sample.ACCOUNT, sample.QUEUE, key, address = sys.argv[1:6]
client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=grpc.insecure_channel(address)))
assert sample.enqueue(client, "send-receipt", {"order": "42"}, key)
print("enqueued with a key")
assert not sample.enqueue(client, "send-receipt", {"order": "42"}, key)
print("the same key again is a duplicate")
assert sample.enqueue(client, "send-receipt", {"order": "43"})
print("enqueued without a key")
