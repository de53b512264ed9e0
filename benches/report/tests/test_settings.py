import unittest

from benches.report import settings


class Choosing(unittest.TestCase):
    def test_changes_have_the_kind_of_what_they_change(self):
        chosen = settings.choose("full", ["rounds=5", "ramp_factor=1.25", "day_rows=10,2_000", "keys=user"])
        self.assertEqual((chosen.rounds, chosen.ramp_factor), (5, 1.25))
        self.assertEqual((chosen.day_rows, chosen.keys), ((10, 2_000), ("user",)))

    def test_what_is_not_a_setting_is_refused(self):
        for change in ("round=1", "rounds", "form=quick", "rounds=many"):
            with self.subTest(change):
                self.assertRaises(ValueError, settings.choose, "full", [change])

    def test_every_form_measures_every_experiment(self):
        for name, form in settings.FORMS.items():
            self.assertEqual(form.form, name)
            for field in (
                "partitions",
                "keys",
                "day_rows",
                "stage_rates",
                "users_before",
                "campaigns",
                "replicas",
                "connections_open",
            ):
                self.assertTrue(getattr(form, field), (name, field))

    def test_the_full_form_is_what_the_report_promises(self):
        full = settings.FORMS["full"]
        self.assertEqual(
            (full.rush_users, full.rush_units, full.crowd_users, full.crowd_units), (1_000, 50, 100, 10_000)
        )
        self.assertEqual(full.partitions, (1, 2, 3, 6, 12))
        self.assertEqual((full.days, full.day_rows[0], full.day_rows[-1]), (30, 1_000, 5_000_000))


if __name__ == "__main__":
    unittest.main()
