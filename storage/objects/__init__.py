"""Object storage: what is put to an address such as `s3://bucket/runs`, and fetched from it.

At an address stand the files of one run, environment or report, each under the digest of what it
holds, and a manifest of them, which is written last. So what a manifest names is never altered, and
without one nothing is there.
"""
