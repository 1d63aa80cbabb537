"""Owns the state of a run's staging under one lease: where its chunks go, and what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importer.load.direct_copy import DirectCopy
    from importer.load.staging import Staging

    from .lease import RunLease


class StagingState:
    """Where the chunks of a run go: nowhere yet, into a staging table, or straight into the target.

    Only the verbs here change it: `recovery` calls those for staging, `stages.streamed_load` those for a direct copy,
    and the pipeline `roll_back_direct`, if the whole sheet has another plan. Each lease has a state of its own: after a
    lost connection the run continues its own staging table as that of a dead run.

        state       `table`  `direct`  entered by        from         meaning
        none        None     None      a new object      -            nothing was written under this lease
        direct      None     set       copy_directly     none         chunks go into the target, uncommitted
        none        None     None      roll_back_direct  direct       they go through staging after all
        begun       set      None      begin             none         filled while the sheet is being read
        created     set      None      create            none, begun  empty; replaces what does not fit the plan
        taken over  set      None      take_over         none, begun  holds chunks of this plan
        none        None     None      forget_table      begun, created  the run stopped before the table was there

    The table may be missing in `begun` and `created`: they are entered before the table is created, because a signal
    may arrive between its creation and the next line. A run that ends drops the table if it exists, or keeps it.

    Args:
        lease: the lease of the run.
    """

    def __init__(self, lease: RunLease) -> None:
        self.lease = lease
        self._table: Staging | None = None
        self._begun_shape: str | None = None
        self._direct: DirectCopy | None = None
        self._resumed_rows = 0
        self._owns_schema = False

    @property
    def table(self) -> Staging | None:
        """The staging table, or None."""
        return self._table

    @property
    def direct(self) -> DirectCopy | None:
        """What copies chunks into the target itself; None when they go through staging."""
        return self._direct

    @property
    def begun_shape(self) -> str | None:
        """Shape (checksum of the definition) of the table that was filled while the sheet was read, or None."""
        return self._begun_shape

    @property
    def resumed_rows(self) -> int:
        """Number of rows that a dead run had written already."""
        return self._resumed_rows

    @property
    def owns_schema(self) -> bool:
        """Whether the schema of staging was created with the table, and so is dropped with it if it is empty."""
        return self._owns_schema

    def copy_directly(self, direct: DirectCopy) -> None:
        """Enter `direct`: its transaction is open."""
        self._direct = direct

    @property
    def may_continue(self) -> bool:
        """Whether the same command may continue from what this run wrote, or from what a dead run left."""
        return self._table is not None or self._direct is not None or self.lease.dead_run is not None

    def roll_back_direct(self) -> None:
        """Roll a direct copy back, if there is one; its chunks are in the spool and go through staging."""
        if self._direct is not None:
            self._direct.rollback()
            self._direct = None

    def forget_table(self) -> None:
        """Enter `none`: the ledger does not know of the table, so its creation was rolled back."""
        self._table = self._begun_shape = None

    def begin(self, table: Staging, shape: str) -> None:
        """Enter `begun`; no dead run left a table."""
        self._table, self._begun_shape = table, shape

    def create(self, table: Staging) -> str | None:
        """Enter `created`; return the name of the table that it replaces, this run's or the dead run's, or None."""
        dead = self.lease.dead_run
        replaced = self._table.name if self._table else dead.staging if dead else None
        self._table = table
        return replaced

    def own_schema(self) -> None:
        """Record that the schema was created with the table."""
        self._owns_schema = True

    def take_over(self, table: Staging, *, resumed_rows: int = 0) -> None:
        """Enter `taken over`.

        Args:
            table: the table, which exists.
            resumed_rows: number of rows in it that a dead run had written.
        """
        self._table, self._resumed_rows = table, resumed_rows
