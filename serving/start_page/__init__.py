"""The page My lessons: where one stands, and one's own policy server at a click."""
