"""Waits for somebody to type something."""

input("your grade, please: ")
