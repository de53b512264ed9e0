import json
import pathlib
import random
import re
import tempfile
import unittest

from benches.report import rows


class Rows(unittest.TestCase):
    def written(self, *, count, batch, published, seed=1):
        with tempfile.TemporaryDirectory() as folder:
            return rows.write(pathlib.Path(folder) / "rows.sql", 3, count, batch, published, seed).read_text()

    def test_a_batch_is_one_transaction_with_the_statements_of_the_service(self):
        text = self.written(count=5, batch=2, published=False)
        self.assertEqual(text.count("BEGIN;"), 3)
        self.assertEqual(text.count("COMMIT;"), 3)
        for table in ("participation", "outbox_event"):
            self.assertEqual(text.count(f"INSERT INTO {table} "), 3)
        self.assertEqual(re.findall(r"committed_units \+ (\d) *,", text), ["2", "2", "1"])
        self.assertNotIn("outbox_position", text)

    def test_the_position_follows_each_batch_to_its_last_event(self):
        text = self.written(count=5, batch=2, published=True)
        moved = re.findall(r"COMMIT;\nINSERT INTO outbox_position .* VALUES \(3,(\d)\) AS moved", text)
        self.assertEqual(moved, ["2", "4", "5"])
        self.assertEqual(re.findall(r"\(3,(\d),0x[0-9a-f]{32},'participation'", text), list("12345"))

    def test_the_same_seed_gives_the_same_rows_and_another_one_others(self):
        first = self.written(count=3, batch=3, published=False)
        self.assertEqual(first, self.written(count=3, batch=3, published=False))
        self.assertNotEqual(first, self.written(count=3, batch=3, published=False, seed=2))

    def test_ids_are_ordered_uuids_of_version_7(self):
        chance = random.Random(1)
        ids = [rows.ordered_id(chance, nth) for nth in range(0, 50, 5)]
        self.assertEqual({one.version for one in ids}, {7})
        self.assertEqual(ids, sorted(ids))

    def test_the_file_is_framed_by_the_servers_clock(self):
        lines = self.written(count=1, batch=1, published=True).splitlines()
        self.assertEqual((lines[0], lines[-1]), ("SELECT NOW(6);", "SELECT NOW(6);"))

    def test_an_event_is_the_json_of_the_service(self):
        value = json.loads(rows.payload("p", 1, 2, 3))
        self.assertEqual(
            sorted(value),
            ["campaignId", "occurredAt", "participationId", "quantity", "rank", "status", "userId"],
        )


if __name__ == "__main__":
    unittest.main()
