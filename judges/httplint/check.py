#!/usr/bin/env python3
"""Lints responses of the service with httplint: check.py MODE ADDRESS ADMIN_TOKEN CONNECTIONS ORIGIN

MODE is the auth.mode of the service: trusted, or sessions, where only log-ins are linted.
"""

import pathlib
import re
import sys

from httplint import HttpRequestLinter, HttpResponseLinter
from httplint.note import levels

from exchange import fetch, one_too_many, send_raw

HERE = pathlib.Path(__file__).parent


def lint(response):
    """All notes about a response."""
    request = HttpRequestLinter()
    request.process_request_topline(response.method.encode(), response.path.encode(), b"1.1")
    request.process_headers([(name.encode(), value.encode()) for name, value in response.sent.items()])
    linter = HttpResponseLinter(start_time=response.received, no_content=response.method == "HEAD")
    linter.request = request
    linter.is_head_response = response.method == "HEAD"
    linter.base_uri = "http://localhost" + response.path
    linter.process_response_topline(b"1.1", str(response.status).encode(), response.reason.encode())
    linter.process_headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers])
    linter.feed_content(response.body)
    linter.finish_content(True)
    return [one for note in linter.notes for one in (note, *note.subnotes)]


def accepted():
    """Pairs of patterns, of a note and of the responses where it is no fault: accepted.txt."""
    pairs = []
    for line in (HERE / "accepted.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            note, _, where = line.partition(" | ")
            pairs.append((re.compile(note.strip()), re.compile(where.strip())))
    return pairs


def trusted(address, token, connections, origin):
    """Responses of every kind."""
    admin = {"Authorization": f"Bearer {token}"}
    get = lambda title, path, headers=None, method="GET": fetch(address, title, method, path, headers)
    post = lambda title, path, body, headers=None: fetch(address, title, "POST", path, headers, body)
    participate = lambda title, user: post(title, "/api/campaigns/1/participation", {"userId": user})

    page = get("page of the dashboard", "/dashboard")
    yield page
    for asset in sorted(set(re.findall(r'(?:src|href)="(/[^"]+)"', page.body.decode()))):
        yield get(f"asset {asset.rsplit('.')[-1]}", asset)
        yield get(f"asset {asset.rsplit('.')[-1]}, compressed", asset, {"Accept-Encoding": "gzip"})
    yield get("page of the dashboard, unchanged", "/dashboard", {"If-None-Match": page.header("etag") or "none"})
    yield get("page of the dashboard, HEAD", "/dashboard", method="HEAD")
    for path in ["/openapi.json", "/asyncapi.json", "/swagger-ui", "/metrics", "/livez", "/readyz", "/"]:
        yield get(path, path)

    for path in ["/api/time", "/api/campaigns", "/api/campaigns/1", "/api/campaigns/1/stock", "/api/campaigns/1/status",
                 "/api/campaigns/1/reviews", "/api/campaigns/1/stream"]:
        yield get(path, path)
    yield get("campaign, HEAD", "/api/campaigns/1", method="HEAD")
    yield get("campaign, other origin", "/api/campaigns/1", {"Origin": origin})
    yield get("preflight", "/api/campaigns/1/participation", method="OPTIONS", headers={
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})

    first = participate("201", 42)
    yield first
    yield get("participation", first.header("location") or "/", {"Authorization": "42"})
    yield participate("409", 42)
    yield participate("409 again", 42)
    yield participate("429, rate of a user", 42)
    yield get("participations of a user", "/api/users/42/participations", {"Authorization": "42"})
    yield get("rewards of a user", "/api/users/42/rewards", {"Authorization": "42"})
    yield get("404, campaign", "/api/campaigns/999")
    yield get("404, path", "/nothing")
    yield post("405", "/api/campaigns/1", {})
    yield post("400", "/api/campaigns/1/participation", b"{", {"Content-Type": "application/json"})
    yield post("415", "/api/campaigns/1/participation", b"{}", {"Content-Type": "text/plain"})
    yield post("422", "/api/campaigns/1/participation", {"userId": 0})
    yield get("401", "/api/admin/campaigns")
    yield get("421", "/api/campaigns", {"Host": "elsewhere.example"})
    yield get("list of an admin", "/api/admin/campaigns", admin)
    yield get("export", "/api/admin/campaigns/1/participations.csv", admin)
    yield post("202, jobs", "/api/admin/test/participate-bulk", {"campaignId": 1, "count": 10}, admin)
    yield send_raw(address, "400, not HTTP", b"nothing\r\n\r\n")
    yield send_raw(address, "431", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
    yield one_too_many(address, "429, connections of an address", int(connections))


def sessions(address, token, *_):
    """Log-ins, with their cookies."""
    account = {"login": "ada@example.org", "password": "correct horse battery staple"}
    yield fetch(address, "201, account", "POST", "/api/admin/accounts", {"Authorization": f"Bearer {token}"}, account)
    yield fetch(address, "401, log-in", "POST", "/api/session", None, account | {"password": "wrong"})
    session = fetch(address, "201, log-in", "POST", "/api/session", None, account | {"rememberMe": True})
    yield session
    cookies = [value.split(";")[0] for name, value in session.headers if name.lower() == "set-cookie"]
    mine = {"Cookie": "; ".join(cookies)}
    yield fetch(address, "own session", "GET", "/api/session", mine)
    yield fetch(address, "403, no token", "DELETE", "/api/session", mine)
    token = {"X-CSRF-Token": session.json()["csrfToken"]}
    yield fetch(address, "204, log-out", "DELETE", "/api/session", mine | token)


def judge(response, pairs):
    """Prints the notes about a response, and returns how many are complaints."""
    wrong = 0
    expected = re.match(r"\d{3}", response.title)
    if expected and int(expected[0]) != response.status:
        wrong += 1
        print(f"WRONG: {response.title}: got {response.status} {response.body[:300]}")
    for note in lint(response):
        if note.level not in (levels.WARN, levels.BAD):
            verdict = "told"
        elif any(of.search(note.summary) and where.search(response.title) for of, where in pairs):
            verdict = "accepted"
        else:
            verdict = "WRONG"
            wrong += 1
        print(f"{verdict}: {response.title}: [{note.level.value}] {note.subject}: {note.summary}")
    return wrong


def main():
    mode, *rest = sys.argv[1:]
    pairs, wrong, statuses = accepted(), 0, []
    for response in {"trusted": trusted, "sessions": sessions}[mode](*rest):
        statuses.append(response.status)
        wrong += judge(response, pairs)
    print(f"result: {mode}: {len(statuses)} responses of {len(set(statuses))} statuses, {wrong} complaints")
    sys.exit(wrong > 0)


main()
