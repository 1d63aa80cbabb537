"""Writing: staging tables, COPY by workers, direct COPY into the target, and publishing.

It imports `ledger`, `plan`, `postgres` and below; it knows neither the run nor the report. Begin with `staging`,
then `copy` (what workers do) and `publish` (what makes the rows visible).
"""
