"""The policy server process: answers players at once, and sees to it that somebody learns."""
