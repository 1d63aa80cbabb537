"""The server of S3 that a day in the life of Airflow has its workbooks on."""

from support.s3 import bucket, s3

__all__ = ["bucket", "s3"]
