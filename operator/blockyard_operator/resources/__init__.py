"""What a `WorkerPool` and a `WorkerBlock` are: one set of records, from which `crds/` is generated.

The API server checks by the schemas, so what reaches `core` fits these records; `reading` turns what does not into a
sentence that names the field.
"""
