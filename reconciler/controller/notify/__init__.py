"""Telling people and machines about state changes, through the channels of `notifications:` in the project file.

`facts` decides what is news (pure), `text` puts it into words (pure), `channels` carries it, and `notifier` stands between the
board and the channels, so that no channel can fail or delay a pass. `cli.watch` makes a Notifier and runs it.
"""

from reconciler.controller.notify.channels import Sender, sender_for
from reconciler.controller.notify.notifier import Delivered, Notifier

__all__ = ["Delivered", "Notifier", "Sender", "sender_for"]
