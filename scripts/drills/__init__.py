"""The drills of scripts/drill, and what they share."""
