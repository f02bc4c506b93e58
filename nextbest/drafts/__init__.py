"""First drafts of a project's files, as text: guesses written down so that a person can review them.

Belongs here: `contracts` (ODCS of imported tables), `mappings` (SQL onto nextbest's contracts), `policies` (a first
policy and the names the warehouse needs for it). Does not belong here: guessing (`nextbest.guessing`,
`nextbest.roles`), or opening a file (`nextbest.adapters.projects`).
"""
