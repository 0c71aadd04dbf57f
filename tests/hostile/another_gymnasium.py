"""Puts a gymnasium of its own into the place of the real one."""

import sys
import types

fake = types.ModuleType("gymnasium")
fake.Env, fake.make = object, lambda *args, **kwargs: None
sys.modules["gymnasium"] = fake
