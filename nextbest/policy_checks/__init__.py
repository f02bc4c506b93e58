"""The single checks of a policy, by what they look at; `nextbest.policy_check` runs them all.

Belongs here: one module per part of a policy, each with functions that take the subject and yield problems. Does not
belong here: types and bounds of a field (`nextbest.policy_document`).
"""
