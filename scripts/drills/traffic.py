"""Users and an administrator who do not pause while replicas are replaced."""

import itertools
import threading
import time
import uuid

from .service import CLIENTS, TOKEN, until

AGAIN = {0, 408, 429, 503}
AGAIN_MAX = 30


class Traffic:
    """Users who participate, pay and cancel, and an administrator who changes campaigns, until they are stopped."""

    def __init__(self, balancer, campaigns, limited):
        self.balancer, self.campaigns, self.limited = balancer, campaigns, limited
        self.accepted, self.confirmed, self.cancelled, self.contradictions = {}, set(), set(), []
        self.users, self.lock, self.stopped, self.failures = itertools.count(1), threading.Lock(), threading.Event(), []
        self.threads = [threading.Thread(target=self.run, args=[work], daemon=True)
                        for work in [self.participate] * CLIENTS + [self.administer]]
        for thread in self.threads:
            thread.start()

    def run(self, work):
        try:
            while not self.stopped.is_set():
                work()
        except Exception as error:  # The drill reports it: a thread that ended would be traffic that paused.
            self.failures.append(repr(error))
            raise

    def repeat(self, *request, **options):
        """Repeats a request as docs/integrators.md says. Status, JSON, and whether it was repeated."""
        began = time.monotonic()
        for number in itertools.count():
            status, made = self.balancer.ask(*request, **options)
            if status not in AGAIN or time.monotonic() - began > AGAIN_MAX:
                return status, made, number > 0
            time.sleep(0.05)

    def participate(self):
        user = next(self.users)
        campaign = self.campaigns[user % len(self.campaigns)]
        status, made, repeated = self.repeat("participate", "POST", f"/api/campaigns/{campaign}/participation", str(user),
                                             {}, str(uuid.uuid4()))
        if status not in (200, 201):
            if repeated and made.get("code") == "ALREADY_PARTICIPATED":
                self.contradictions.append(f"user {user} of campaign {campaign}")
            time.sleep(0.005)
            return
        one = made["participationId"]
        with self.lock:
            self.accepted[one] = (campaign, user)
        path = f"/api/participations/{one}"
        if made["status"] == "reserved" and user % 2:
            status, *_ = self.repeat("confirm", "POST", f"{path}/confirm", str(user), {"paymentReference": f"pi_{user}"})
            if status == 200:
                self.confirmed.add(one)
        elif user % 3 == 0:
            status, *_ = self.repeat("cancel", "POST", f"{path}/cancel", str(user))
            if status == 200:
                self.cancelled.add(one)

    def administer(self):
        """The stock of one campaign goes up and down, another campaign pauses, and one is created."""
        admin = ("admin", "POST", "/api/admin/campaigns")
        bearer = f"Bearer {TOKEN}"
        campaign = f"/api/admin/campaigns/{self.limited}"
        for change in [7, -2]:
            status, now = self.balancer.ask("admin", "GET", campaign, bearer)
            if status == 200:
                self.balancer.ask("admin", "PATCH", campaign, bearer, {"totalStock": now["totalStock"] + change})
        status, made = self.balancer.ask(*admin, bearer, {"name": "made during the drill", "kind": "general", "totalStock": 3})
        if status == 201:
            self.balancer.ask("admin", "POST", f"/api/admin/campaigns/{made['id']}/pause", bearer)
            self.balancer.ask("admin", "POST", f"/api/admin/campaigns/{made['id']}/open", bearer)
        self.stopped.wait(0.2)

    def wait_for_more(self, count):
        wanted = len(self.accepted) + count
        until(f"{count} more participations", lambda: self.failures or len(self.accepted) >= wanted)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
