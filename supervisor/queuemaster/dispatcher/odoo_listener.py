"""What a notification makes due beside Odoo, where the addon's trigger notifies on the same channel."""

from __future__ import annotations

from collections.abc import Callable

from .duties import Duty
from .head_table import HeadTable
from .listener import Listener
from .notifications import AddonJobChanged, AddonReload, Notification
from .odoo_duties import LookAtChanges


class OdooListener(Listener):
    """The notifications of one database of Odoo."""

    def __init__(
        self,
        db: str,
        heads: HeadTable,
        control: Duty,
        cancel: Duty,
        promote: Duty,
        is_sequential: Callable[[str], bool],
        changes: LookAtChanges,
    ) -> None:
        super().__init__(db, heads, control, cancel, promote, is_sequential)
        self._changes = changes

    def _acted_on(self, notification: Notification) -> bool:
        if isinstance(notification, AddonJobChanged):
            self._changes.add(notification.uuid)
            return True
        # a reload changes the addon's channels; ours come from the configuration
        return isinstance(notification, AddonReload) or super()._acted_on(notification)
