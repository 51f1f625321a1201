"""Docker's JSON: types, rendering of objects, reading of requests. Used by both sides of the Engine API."""
