import datetime
import json
import time

from django.http import HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from google.api_core import exceptions

from .cloud_tasks import CloudTasksMixin

receipts = []


@method_decorator(csrf_exempt, name="dispatch")
class OrderView(CloudTasksMixin, View):
    """What the customer calls. The answer does not wait for the receipt."""

    def post(self, request, order):
        delay = int(request.GET.get("delay", 0))
        schedule_time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=delay) if delay else None
        try:
            name = self.send_task("/tasks/receipt/", payload={"order": order}, schedule_time=schedule_time, name="receipt-%d" % order)
        except exceptions.AlreadyExists:
            return JsonResponse({"order": order, "duplicate": True})
        return JsonResponse({"order": order, "task": name}, status=202)


@method_decorator(csrf_exempt, name="dispatch")
class ReceiptTask(View):
    """What Cloud Tasks calls. App Engine removes X-AppEngine-* headers from all other requests."""

    def post(self, request):
        if "X-AppEngine-QueueName" not in request.headers:
            return HttpResponse(status=403)
        order = json.loads(request.body)["order"]
        time.sleep(1)  # Making a receipt takes a while.
        receipts.append({"order": order, "queue": request.headers["X-AppEngine-QueueName"], "task": request.headers["X-AppEngine-TaskName"]})
        return HttpResponse(status=204)


def receipts_view(request):
    return JsonResponse({"receipts": receipts})
