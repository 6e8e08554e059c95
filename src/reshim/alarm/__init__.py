"""What a measurement tells before anybody knows the answer: is it unusual, how good will its image be."""

from reshim.alarm.shift import Alarm

__all__ = ["Alarm"]
