"""Measures what the project claims and writes it down: `python3 -m benches.report compare|limits`.

A run starts processes, offers load and asks the parts; what came of it is one JSON file of plain numbers. The
pages are made from that file alone, so they can be made again without measuring anything again. Where a
module measures it has `measure`, where it shows it has `present`, and the two share nothing but the file.

Nothing outside Python's standard library, so that a machine that can run the parts can run this.
"""
