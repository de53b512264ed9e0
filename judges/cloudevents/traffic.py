#!/usr/bin/env python3
"""Makes the service write events of every type: python3 traffic.py ADDRESS ADMIN_TOKEN DATABASE [BULK]

The types are those of openapi/asyncapi.json. BULK is the number of participations made at once; 500 unless given.
"""

import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Text that a careless serialiser damages.
NAME = 'Été "선착순" 🎟 \\ 100 % <b>'
# A request that brings its trace: https://www.w3.org/TR/trace-context/
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
WAIT_SECONDS_MAX = 60


def wanted_types():
    """The types of events that the AsyncAPI document names."""
    text = (ROOT / "openapi/asyncapi.json").read_text()
    return set(re.findall(r'"(firstcome\.[a-z]+\.[a-z_]+)"', text))


def rows(database, sql):
    command = [ROOT / "scripts/parts", "cli", "mysql", "--raw", "--skip-column-names", database, "-e", sql]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def wait_for(what, condition):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"after {WAIT_SECONDS_MAX} s still waiting for: {what}")
        time.sleep(0.1)


class Shop:
    def __init__(self, address, token, database):
        self.base = f"http://{address}/api"
        self.token = token
        self.database = database

    def call(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.base + path, method=method, headers=dict(headers or {}))
        if path.startswith("/admin/"):
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as refused:
            sys.exit(f"{method} {path} {body}: {refused.code} {refused.read().decode()}")

    def campaign(self, **settings):
        return self.call("POST", "/admin/campaigns", {"name": NAME, **settings})["id"]

    def take(self, campaign, user, headers=None):
        return self.call("POST", f"/campaigns/{campaign}/participation", {"userId": user}, headers)["participationId"]

    def order(self, user, *campaigns):
        lines = [{"campaignId": campaign} for campaign in campaigns]
        return self.call("POST", "/orders", {"userId": user, "lines": lines})["orderId"]

    def change(self, path, user, body=None, headers=None):
        self.call("POST", path, body, {"Authorization": str(user), **(headers or {})})

    def types(self):
        return set(rows(self.database, "SELECT DISTINCT type FROM outbox_event"))

    def has_event(self, campaign, kind):
        sql = f"SELECT 1 FROM outbox_event WHERE campaign_id = {campaign} AND type = 'firstcome.campaign.{kind}'"
        return bool(rows(self.database, sql))


def participations(shop, bulk):
    free = shop.campaign(totalStock=20, cancellable=True)
    first = shop.take(free, 1, TRACE)
    shop.take(free, 2)
    shop.change(f"/participations/{first}/cancel", 1)

    priced = shop.campaign(totalStock=20, price=100)
    paid = shop.take(priced, 1)
    shop.change(f"/participations/{paid}/confirm", 1, {"paymentReference": f"paid-{paid}", "amount": 100}, TRACE)
    shop.change(f"/participations/{shop.take(priced, 2)}/cancel", 2)
    shop.take(shop.campaign(totalStock=20, price=100, holdSeconds=1), 1)

    crowd = shop.campaign(totalStock=bulk, reward={"points": 10})
    shop.call("POST", "/admin/test/participate-bulk", {"campaignId": crowd, "count": bulk})
    wait_for("the event sold_out of the crowd", lambda: shop.has_event(crowd, "sold_out"))


def campaigns(shop):
    scarce = shop.campaign(totalStock=1, cancellable=True)
    last = shop.take(scarce, 1)
    wait_for("the event sold_out", lambda: shop.has_event(scarce, "sold_out"))
    shop.change(f"/participations/{last}/cancel", 1)

    managed = shop.campaign(totalStock=1, state="draft")
    shop.call("PATCH", f"/admin/campaigns/{managed}", {"totalStock": 2})
    for change in ("open", "pause", "open", "close", "archive"):
        shop.call("POST", f"/admin/campaigns/{managed}/{change}")


def orders(shop):
    priced = [shop.campaign(totalStock=20, price=price) for price in (100, 200)]
    short = [shop.campaign(totalStock=20, price=price, holdSeconds=1) for price in (100, 200)]
    paid = shop.order(11, *priced)
    shop.change(f"/orders/{paid}/confirm", 11, {"paymentReference": f"paid-{paid}", "amount": 300})
    shop.change(f"/orders/{shop.order(12, *priced)}/cancel", 12)
    shop.order(13, *short)


def main(address, token, database, bulk="500"):
    shop = Shop(address, token, database)
    participations(shop, int(bulk))
    campaigns(shop)
    orders(shop)
    wanted = wanted_types()
    wait_for(f"events of the types {sorted(wanted)}", lambda: shop.types() >= wanted)
    unpaid = "SELECT 1 FROM participation WHERE status = 'reserved'"
    wait_for("the end of what is not paid", lambda: not rows(database, unpaid))
    wait_for("the relay", lambda: shop.call("GET", "/admin/outbox")["pending"] == 0)


main(*sys.argv[1:])
