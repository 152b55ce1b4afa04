"""Grafana's dashboards as code: ``python -m tools.dashboards FOLDER`` writes them as JSON, one file each.

`records` says what a dashboard is made of, a module a dashboard says what is on it, and `grafana`, which alone knows
Grafana's SDK, turns one into the other. Nothing that is deployed needs any of this: the JSON is checked in.
"""
