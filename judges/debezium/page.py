#!/usr/bin/env python3
"""Takes what docs/debezium.md tells its readers, with the addresses and names of this machine in it.

    page.py sql PREFIX PASSWORD                      the statements of the sections "Columns" and "MySQL"
    page.py connector PREFIX MYSQL KAFKA SECRET ID   the connector's settings; MYSQL and KAFKA are host:port
    page.py worker                                   the worker's settings

PREFIX is the schema and the relay's prefix of topics. The connector's topics begin with PREFIX_cdc, and its user is PREFIX.
Each value that is replaced must be on the page as it is here, and nothing else is replaced.
"""

import pathlib
import re
import sys

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs/debezium.md").read_text()
SECRET = "/run/secrets/debezium.properties"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def block(language, beginning):
    """The one block that begins so."""
    found = [text for text in blocks(language) if text.startswith(beginning)]
    if len(found) != 1:
        sys.exit(f"the page has {len(found)} blocks of {language} that begin with {beginning}")
    return found[0]


def replaced(text, old, new):
    if old not in text:
        sys.exit(f"the page no longer has {old}")
    return text.replace(old, new)


def sql(prefix, password):
    columns = replaced(block("sql", "ALTER TABLE"), "outbox_event", f"{prefix}.outbox_event")
    user = replaced(block("sql", "CREATE USER"), "'debezium'", f"'{prefix}'")
    print(columns + replaced(user, "'…'", f"'{password}'"))


def connector(prefix, mysql, kafka, secret, server):
    host, port = mysql.split(":")
    cdc = f"{prefix}_cdc"
    text = block("properties", "connector.class=")
    for old, new in (
        ("database.hostname=db.example\n", f"database.hostname={host}\n"),
        ("database.port=3306\n", f"database.port={port}\n"),
        ("database.user=debezium\n", f"database.user={prefix}\n"),
        (SECRET, secret),
        ("database.server.id=184054\n", f"database.server.id={server}\n"),
        ("topic.prefix=firstcome-cdc\n", f"topic.prefix={cdc}\n"),
        ("database.include.list=firstcome\n", f"database.include.list={prefix}\n"),
        ("table.include.list=firstcome.", f"table.include.list={prefix}."),
        ("servers=kafka-1.example:9092\n", f"servers={kafka}\n"),
        ("topic=firstcome-cdc.schema-history\n", f"topic={cdc}.schema-history\n"),
        ("replication.factor=3\n", "replication.factor=1\n"),
        ("replacement=firstcome.", f"replacement={cdc}."),
        ("literal=/firstcome\n", f"literal=/{prefix}\n"),
    ):
        text = replaced(text, old, new)
    print(f"name={cdc}\n{text}")


def worker():
    print(block("properties", "config.providers="))


{"sql": sql, "connector": connector, "worker": worker}[sys.argv[1]](*sys.argv[2:])
