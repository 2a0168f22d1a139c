from django.urls import path

from . import views

urlpatterns = [
    path("orders/<int:order>/", views.OrderView.as_view()),
    path("tasks/receipt/", views.ReceiptTask.as_view()),
    path("receipts/", views.receipts_view),
]
