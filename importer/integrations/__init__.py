"""What connects this program to others: clusters (Dask, Ray) that run imports, and schedulers (Airflow).

It imports `errors`, `urls` and `version` of this package; the other programs are imported only here, and only where
they are used: each is an extra. Begin with `clusters`, which knows what a cluster must be able to do; `airflow` stands
for itself, and starts the program as a child process.
"""
