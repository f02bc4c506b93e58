"""What Dagster sees, one module per noun: assets by stage, checks, partitions, jobs, schedules, sensors, resources.

Belongs here: definitions. Does not belong here: what they use (`orchestration`), or any business rule.
"""
