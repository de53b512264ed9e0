"""Sells, pays and reads with the client that openapi-generator makes, and asserts every answer."""

import os
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from firstcome_client import (
    ApiClient,
    ApiException,
    CampaignKind,
    CampaignState,
    CampaignsAdminApi,
    CampaignsApi,
    Configuration,
    CreateCampaign,
    OrderLineRequest,
    OrderRequest,
    OrdersApi,
    ParticipationRequest,
    ParticipationStatus,
    ParticipationsApi,
)

BASE = os.environ["BASE_URL"]
USER = int(os.environ["USER_ID"])

admin = CampaignsAdminApi(ApiClient(Configuration(host=BASE, access_token=os.environ["ADMIN_TOKEN"])))
buyer = ApiClient(Configuration(host=BASE, api_key={"user": str(USER)}))
late = ApiClient(Configuration(host=BASE, api_key={"user": str(USER - 1)}))
participations = ParticipationsApi(buyer)


def refusal(call: Callable[[], Any], status: int) -> Any:
    """The problem of a rejection."""
    try:
        call()
    except ApiException as refused:
        assert refused.status == status, refused
        assert refused.headers and refused.data and refused.data.instance == refused.headers["x-request-id"]
        return refused.data
    raise AssertionError("it was not rejected")


def open_campaign(price: int, stock: int) -> int:
    body = CreateCampaign(name="Typed", state=CampaignState.DRAFT, price=price, total_stock=stock, max_quantity=1)
    made = admin.create_campaign_with_http_info(body)
    assert (made.status_code, made.data.price) == (201, price)
    assert made.headers and made.headers["location"] == f"/api/admin/campaigns/{made.data.id}"
    assert admin.open_campaign(made.data.id).state == CampaignState.OPEN
    return made.data.id


def sell(campaign: int) -> None:
    key, body = str(uuid.uuid4()), ParticipationRequest(quantity=1)
    first = participations.participate_with_http_info(campaign, idempotency_key=key, participation_request=body)
    place = first.data
    assert (first.status_code, place.status, place.user_id) == (201, ParticipationStatus.RESERVED, USER)
    assert (place.amount, place.remaining) == (3_000_000_000, 0)
    assert first.headers and first.headers["location"] == f"/api/participations/{place.participation_id}"
    repeated = participations.participate_with_http_info(campaign, idempotency_key=key, participation_request=body)
    assert (repeated.status_code, repeated.data) == (201, place)
    assert repeated.headers and repeated.headers["idempotency-replayed"] == "true"

    paid = participations.confirm_participation(place.participation_id)
    assert paid.status == ParticipationStatus.CONFIRMED
    read = participations.get_participation(place.participation_id)
    assert read.payment_reference == paid.payment_reference
    assert read.created_at and abs(read.created_at - datetime.now(timezone.utc)) < timedelta(hours=1)
    assert participations.list_participations(USER).items[0].participation_id == place.participation_id
    stock = CampaignsApi(buyer).get_stock(campaign)
    assert (stock.current_stock, stock.sold_out) == (0, True)


def reject(campaign: int) -> None:
    assert refusal(lambda: ParticipationsApi(late).participate(campaign), 409).code == "SOLD_OUT"
    endless = CreateCampaign(name="Without an end", kind=CampaignKind.TIME_DEAL)
    wrong = refusal(lambda: admin.create_campaign(endless), 422)
    assert (wrong.code, wrong.errors[0].var_field) == ("INVALID", "closesAt")


def order(campaigns: list[int]) -> None:
    orders = OrdersApi(buyer)
    lines = [OrderLineRequest(campaign_id=campaign) for campaign in campaigns]
    placed = orders.place_order(OrderRequest(user_id=USER, lines=lines))
    assert (placed.status.value, placed.amount, len(placed.lines)) == ("reserved", 2500, 2)
    paid = orders.confirm_order(placed.order_id)
    assert paid.status.value == "confirmed" and all(line.participation_id for line in paid.lines)


def page(newest: list[int]) -> None:
    first = admin.list_campaigns_as_admin(limit=2)
    second = admin.list_campaigns_as_admin(limit=2, cursor=first.next_cursor)
    assert [campaign.id for campaign in first.items + second.items][:3] == newest


dear = open_campaign(3_000_000_000, 1)
sell(dear)
reject(dear)
lines = [open_campaign(1000, 5), open_campaign(1500, 5)]
order(lines)
page([*reversed(lines), dear])
