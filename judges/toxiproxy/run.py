#!/usr/bin/env python3
"""Sells units while Toxiproxy spoils the connections of the service: run.py SERVICE TOKEN TOXIPROXY DATABASE BROKER

SERVICE and TOXIPROXY are host:port, BROKER is Kafka past the proxy. Environment: TOXIPROXY_SEED, TOXIPROXY_SECONDS.
"""

import os
import random
import subprocess
import sys
import time

import truth
from shop import Shop
from toxics import Toxiproxy, play, schedule

SEED = os.environ["TOXIPROXY_SEED"]
FAULT_SECONDS = float(os.environ.get("TOXIPROXY_SECONDS", "3"))
REST_SECONDS = 1
THREADS = 8
LIMITED_STOCKS = [60, 140, 240, 360]  # they sell out one after the other
ENDLESS_STOCK = 1_000_000
RECOVERY_SECONDS_MAX = 60


def wait_for(what, condition):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > RECOVERY_SECONDS_MAX:
            sys.exit(f"WRONG: after {RECOVERY_SECONDS_MAX} s without a fault still waiting for: {what}")
        time.sleep(0.2)
    return time.monotonic() - began


def recover(shop, limited, rng):
    """Everybody gets an outcome, what is left is sold, everything is published and rewarded."""
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while (undecided := shop.undecided()) and time.monotonic() < deadline:
        for wish in undecided:
            wish.outcome = shop.send(wish)
    for campaign in limited:
        outcome = (201, None)
        while outcome and outcome[0] == 201:
            outcome = shop.take(campaign, rng, deadline)
    wait_for("the relay", lambda: shop.admin("GET", "/admin/outbox")["pending"] == 0)


def rewarded(shop, campaigns):
    for campaign in campaigns:
        funnel = shop.call("GET", f"/campaigns/{campaign}/status")[2]["funnel"]
        if funnel["rewarded"] < funnel["committed"]:
            return False
    return True


def verify():
    """What the service's own verification says."""
    command = [os.environ["JUDGE_BINARY"], "verify", "--json", "--full", "--topic", "--rewards", "--rewards-passed-seconds", "0"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if ran.returncode != 0:
        print(ran.stdout, ran.stderr)
    return ran.returncode == 0


def main(service, token, toxiproxy, database, broker):
    rng = random.Random(SEED)
    proxy, shop = Toxiproxy(toxiproxy), Shop(service, token, SEED)
    limited = {shop.campaign(stock): stock for stock in LIMITED_STOCKS}
    endless = shop.campaign(ENDLESS_STOCK)
    stocks = {**limited, endless: ENDLESS_STOCK}
    faults = schedule(rng)
    shop.open(THREADS, [*limited, endless])
    try:
        play(proxy, faults, FAULT_SECONDS, REST_SECONDS, shop.counts)
    finally:
        proxy.heal()
        shop.close()
    began = time.monotonic()
    recover(shop, limited, rng)
    wait_for("the rewards", lambda: rewarded(shop, stocks))
    recovery = time.monotonic() - began
    verified = verify()
    rows, records = truth.sold(database), truth.published(broker, database)
    wrong = shop.faults + truth.judge(shop.wishes, rows, records, stocks)
    wrong += [f"campaign {one} sold {n} of {stock} units" for one, stock in limited.items() if (n := sum(row[1] == one for row in rows)) != stock]
    unnoticed = [] if wrong else truth.plant(shop.wishes, rows, records, stocks)
    counts = shop.counts()
    for text in wrong[:30]:
        print(f"WRONG: {text}")
    repeated = counts["503"] + counts["no answer"]
    print(f"result: {len(faults)} faults in the order of seed {SEED}: {len(shop.wishes)} users, {repeated} requests failed and were repeated, {counts['201']} answers 201")
    print(f"result: {len(rows)} units committed, {sum(records.values())} records for {len(records)} of them, {len(wrong)} contradictions, recovery in {recovery:.0f} s, firstcome verify {'finds nothing' if verified else 'FINDS SOMETHING'}")
    if unnoticed:
        print(f"result: WRONG: planted and not noticed: {', '.join(unnoticed)}")
    if repeated == 0:
        print("result: WRONG: no request failed, so no fault had an effect")
    sys.exit(0 if verified and not wrong and not unnoticed and repeated else 1)


main(*sys.argv[1:])
