"""What must hold after every load, whatever the figures say: asked of the database, and of `verify`."""

SOLD = """
SELECT COALESCE(c.total_stock, -1), c.committed_units, COUNT(p.id),
  COALESCE(SUM(IF(p.status IN ('reserved', 'confirmed'), p.quantity, 0)), 0),
  COUNT(DISTINCT p.user_id), COUNT(DISTINCT p.`rank`),
  (SELECT COUNT(DISTINCT e.aggregateid) FROM outbox_event e
     WHERE e.campaign_id = c.id AND e.aggregatetype = 'participation')
FROM campaign c LEFT JOIN participation p ON p.campaign_id = c.id
WHERE c.id = {campaign} GROUP BY c.id
"""


def sold(installation, campaign):
    """What a campaign has sold, by its rows."""
    [row] = installation.sql(SOLD.format(campaign=campaign))
    stock, committed, rows, units, users, ranks, told = map(int, row)
    return {
        "stock": None if stock < 0 else stock,
        "committed": committed,
        "participations": rows,
        "units": units,
        "users": users,
        "ranks": ranks,
        "events": told,
    }


def wrong(found, accepted_least=None):
    """What is wrong about that, in words. A client may have gone before it saw its yes: never the other way."""
    stock, mistakes = found["stock"], []
    if stock is not None and max(found["units"], found["committed"]) > stock:
        mistakes.append(f"oversold: {max(found['units'], found['committed'])} of {stock} units")
    if found["committed"] != found["units"]:
        mistakes.append(f"the campaign counts {found['committed']} units, its rows {found['units']}")
    if found["users"] != found["participations"]:
        mistakes.append(f"{found['participations'] - found['users']} participations of users who had one")
    if found["ranks"] != found["participations"]:
        mistakes.append(f"{found['participations'] - found['ranks']} places in line given twice")
    if found["events"] != found["participations"]:
        mistakes.append(f"{found['participations']} participations, events of {found['events']}")
    if accepted_least is not None and found["participations"] < accepted_least:
        mistakes.append(f"{accepted_least} were told yes, {found['participations']} are there")
    return mistakes


def examine(bench, installation, campaigns, *, where, accepted=None, beyond=()):
    """Everything of an installation; breaches are noted with where they were found. Returns a short verdict.

    `accepted` is what clients were told yes to, by campaign, where that is known; `beyond` what verify looks at
    beside the database and the gate: `--topic`, `--rewards`.
    """
    installation.wait_until_published()
    oversold = 0
    for campaign in campaigns:
        found = sold(installation, campaign)
        if found["stock"] is not None:
            oversold = max(oversold, found["units"] - found["stock"])
        for mistake in wrong(found, (accepted or {}).get(campaign)):
            bench.breach(f"{where}, campaign {campaign}: {mistake}")
    report, breaches = installation.verify(*beyond)
    for breach in breaches:
        bench.breach(f"{where}, verify: {breach}")
    return {"oversold": max(oversold, 0), "verify": "breached" if breaches else "clean", "report": report}
